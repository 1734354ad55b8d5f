//! Half a processor is half a processor, however many processes ask for it.

use crate::small_sandbox;
use bulkhead_tests::{Run, Server};

/// Cpu time by wall time, as the sandbox's own accounting says.
fn share(run: &Run) -> f64 {
    let number =
        |name: &str| run.data["usage"][name].as_f64().unwrap_or_else(|| panic!("{name} in {}", run.data));
    number("cpuMs") / number("wallMs")
}

#[test]
fn d14_a_busy_sandbox_is_throttled() {
    let server = Server::start();
    let sandbox = small_sandbox(&server);
    for loops in [1, 4] {
        let burn = "python3 -c 'import time\nend = time.time() + 3\nwhile time.time() < end: pass'";
        let run = sandbox.exec(&format!("for i in $(seq {loops}); do {burn} & done; wait")).ok();
        let share = share(&run);
        assert!((0.30..0.60).contains(&share), "{loops} loops used {share:.2} processors: {}", run.data);
    }
}

#[test]
fn a_whole_processor_is_not_throttled_below_it() {
    let server = Server::start();
    let sandbox = server.create();
    let burn = "python3 -c 'import time\nend = time.time() + 2\nwhile time.time() < end: pass'";
    let run = sandbox.exec(burn).ok();
    let share = share(&run);
    assert!((0.5..1.15).contains(&share), "used {share:.2} processors: {}", run.data);
}
