//! Group D: what one sandbox does to use up the host. Every bomb is bounded in count and time by itself, and goes off
//! in a sandbox whose limits were just read back from the kernel.
//!
//! Left out: hugetlb pages (D02), of which the hosts of the suite have none, so that no test could fail; a thousand
//! launches (D16), which `crash` and `load` make; FUSE and NFS (D17), which do not exist inside.

mod alone;
mod disk;
mod ends;
mod kernel;
mod memory;
mod noise;
mod processes;
mod processors;

use bulkhead_tests::groups::InForce;
use bulkhead_tests::python::with_prelude;
use bulkhead_tests::{Run, Sandbox, Server, host};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Memory of a sandbox in which a bomb goes off, in MiB, without the agent's share.
const MEMORY_MIB: u64 = 64;
/// Its processes.
const PIDS: u64 = 64;
/// Its disk in MiB.
const DISK_MIB: u64 = 64;
/// What a bomb asks for in MiB: several times what may be had, so that one that is not stopped stands out.
const ASKED_MIB: u64 = 500;
/// What the host may lose to one bomb, in KiB: the limit with the agent's share, and as much again for whoever else
/// works on the machine.
const LOSS_KIB: u64 = 200 << 10;
/// A round that lost more is repeated so often: others take memory too, but not each time.
const ROUNDS: usize = 4;

/// A sandbox for a bomb, its limits read back.
fn small(server: &Server) -> Sandbox<'_> {
    let limits = json!({
        "memoryMiB": MEMORY_MIB, "pids": PIDS, "cpus": 0.5, "openFiles": 1024, "diskMiB": DISK_MIB,
    });
    let sandbox = server.create_with(json!({"limits": limits}));
    assert_eq!(InForce::of(&sandbox), InForce::for_tenant(MEMORY_MIB, PIDS, 500));
    sandbox
}

/// Runs a program with the prelude before it.
fn python(sandbox: &Sandbox<'_>, program: &str) -> Run {
    python_as(sandbox, "", program)
}

/// [`python`] started by these words.
fn python_as(sandbox: &Sandbox<'_>, words: &str, program: &str) -> Run {
    let script = format!("{words} python3 - <<'END_OF_PROGRAM'\n{}\nEND_OF_PROGRAM", with_prelude(program));
    sandbox.exec_with(&script, json!({"timeout": 60}))
}

/// How a bomb ended: the text that it printed as JSON, or `oom` where the kernel ended it for its memory.
fn end_of(run: &Run) -> String {
    if run.kind == "oom" || run.code == 137 {
        return "oom".to_owned();
    }
    match run.clone().ok().json() {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// The sandbox and its agent are what they were.
fn assert_well(sandbox: &Sandbox<'_>, agent: i32) {
    assert_eq!(sandbox.object()["status"], "running");
    assert_eq!(sandbox.exec("echo well").ok().stdout, "well\n");
    assert_eq!(sandbox.agent().pid, agent, "the agent is another");
}

/// Runs one bomb in a sandbox of its own, and gives back how it ended. The host loses little, the sandbox goes on.
fn goes_off(server: &Server, what: &str, program: &str) -> String {
    let mut losses = Vec::new();
    for _ in 0..ROUNDS {
        let sandbox = small(server);
        let agent = sandbox.agent().pid;
        let (run, loss) = loss_during(|| python(&sandbox, program));
        let end = end_of(&run);
        assert_well(&sandbox, agent);
        sandbox.delete();
        if loss < LOSS_KIB {
            println!("{what}: {end}; the host had {loss} KiB less");
            return end;
        }
        losses.push(loss);
    }
    panic!("{what}: the host lost {losses:?} KiB");
}

/// By how many KiB the host's memory fell, at worst, while this ran.
fn loss_during<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = host::available_kib();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut lowest = u64::MAX;
            while !stop.load(Ordering::Relaxed) {
                lowest = lowest.min(host::available_kib());
                std::thread::sleep(Duration::from_millis(10));
            }
            lowest
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        (done, before.saturating_sub(watch.join().expect("the watcher")))
    })
}

/// Whether the long forms were asked for.
fn long() -> bool {
    std::env::var_os("BULKHEAD_TEST_LONG").is_some()
}
