//! Half a processor is half a processor, however many processes ask for it.

use crate::small_sandbox;
use bulkhead_tests::{Run, Sandbox, Server, eventually};

/// Seconds in which the kernel gives a group its time anew.
const PERIOD: f64 = 0.1;
/// Where a limit holds a group back, it has had at least this part of its time: what is left lies with processors that
/// do not need it.
const HAD: f64 = 0.6;

fn number(run: &Run, name: &str) -> f64 {
    run.data["usage"][name].as_f64().unwrap_or_else(|| panic!("{name} in {}", run.data)) / 1000.0
}

/// Periods in which the sandbox had to wait for its limit.
fn throttled(sandbox: &Sandbox<'_>) -> f64 {
    let data = sandbox.client().get(&sandbox.path("/stats")).expect(200).data();
    data["cpu"]["throttledPeriods"].as_f64().unwrap_or_else(|| panic!("{data}"))
}

/// Burns in so many processes. By cpu and wall time, as the sandbox's own accounting has it, it uses no more than
/// `most` processors, and is only held back where it has had its `limit`: that also holds where others need the machine.
fn burn(sandbox: &Sandbox<'_>, processes: u32, limit: f64, most: f64) -> f64 {
    let before = throttled(sandbox);
    let burn = "python3 -c 'import time\nend = time.time() + 3\nwhile time.time() < end: pass'";
    let run = sandbox.exec(&format!("for i in $(seq {processes}); do {burn} & done; wait")).ok();
    let (cpu, wall) = (number(&run, "cpuMs"), number(&run, "wallMs"));
    assert!(cpu / wall < most, "{processes} used {:.2} processors: {}", cpu / wall, run.data);
    // What the server tells may be a quarter of a second old.
    let (mut last, mut same) = (throttled(sandbox), 0);
    let after = eventually("the count stands", || {
        let now = throttled(sandbox);
        same = if (now - last).abs() < 0.5 { same + 1 } else { 0 };
        last = now;
        if same > 25 { Ok(now) } else { Err(format!("{now}")) }
    });
    let periods = after - before;
    let given = periods * PERIOD * limit;
    assert!(cpu >= HAD * given, "{cpu:.2} s in {periods} periods that were too short: {}", run.data);
    periods
}

#[test]
fn d14_a_busy_sandbox_is_throttled() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    // Several on more than one processor are held back also on a busy machine.
    let periods: f64 = [1, 4].into_iter().map(|processes| burn(&sandbox, processes, 0.5, 0.6)).sum();
    assert!(periods > 0.0, "never held back");
}

#[test]
fn a_whole_processor_is_not_throttled_below_it() {
    let server = Server::start();
    burn(&server.create(), 1, 1.0, 1.15);
}
