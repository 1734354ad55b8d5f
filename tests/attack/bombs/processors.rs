//! D14: tricks with processors.

use super::{python, small};
use crate::{assert_all, outcome};
use bulkhead_tests::{Sandbox, Server, Switch, groups};
use serde_json::json;
use std::time::Instant;

/// How long a hog runs.
const SECONDS: u32 = 3;

#[test]
fn d14_no_class_of_scheduling_but_the_ordinary() {
    let server = Server::start();
    let results = outcome(
        &small(&server),
        r#"
def attributes(policy, nice=0, priority=0, runtime=0):
    return ctypes.create_string_buffer(struct.pack("<IIQiIQQQ", 48, policy, 0, nice, priority, runtime, runtime * 2, runtime * 2))
print(json.dumps({
    "fifo": attempt(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)),
    "round robin": attempt(os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(1)),
    "deadline": call(314, 0, attributes(6, runtime=10000000), 0),
    "fifo by attributes": call(314, 0, attributes(1, priority=1), 0),
    "nice by attributes": call(314, 0, attributes(0, nice=-20), 0),
    "nice": attempt(os.setpriority, os.PRIO_PROCESS, 0, -20),
    "io class real time": call(251, 1, 0, 1 << 13),
}))"#,
    );
    assert_all(&results, &["EPERM", "EACCES"]);
}

/// Share of one processor that a program takes.
#[expect(clippy::cast_precision_loss, reason = "microseconds of seconds are exact in f64")]
fn share(sandbox: &Sandbox<'_>, program: &str) -> f64 {
    let (before, start) = (groups::cpu_micros(sandbox), Instant::now());
    let _run = python(sandbox, &program.replace("SECONDS", &SECONDS.to_string()));
    (groups::cpu_micros(sandbox) - before) as f64 / start.elapsed().as_micros() as f64
}

const HOGS: [(&str, &str); 4] = [
    (
        "short threads",
        "import threading, time\nend = time.time() + SECONDS\nwhile time.time() < end:\n    ts = [threading.Thread(target=lambda: sum(range(20000))) for _ in range(8)]\n    [t.start() for t in ts]\n    [t.join() for t in ts]",
    ),
    (
        "forks",
        "import time\nend = time.time() + SECONDS\nwhile time.time() < end:\n    for _ in range(8):\n        if os.fork() == 0:\n            os._exit(0)\n    for _ in range(8):\n        os.wait()",
    ),
    (
        "maps and barriers",
        "import mmap, time\nend = time.time() + SECONDS\nif os.fork() == 0: pass\nwhile time.time() < end:\n    m = mmap.mmap(-1, 4 << 20)\n    m[0] = m[1 << 20] = 1\n    m.close()\n    libc.syscall(324, 1, 0, 0)\n    libc.syscall(324, 8, 0, 0)",
    ),
    (
        "sleepers that wake before the tick",
        "import time\nend = time.time() + SECONDS\nfor _ in range(3):\n    os.fork()\nwhile time.time() < end:\n    t = time.perf_counter() + 0.0008\n    while time.perf_counter() < t: pass\n    time.sleep(0.00001)",
    ),
];

#[test]
fn d14_no_trick_takes_more_than_the_quota_alone() {
    let server = Server::start();
    for (what, hog) in HOGS {
        let sandbox = small(&server);
        let share = share(&sandbox, hog);
        println!("{what}: {share:.2} of a processor, 0.50 allowed");
        assert!((0.01..=0.55).contains(&share), "{what}: {share:.2}");
    }
}

#[test]
fn d14_control_without_the_quota_a_hog_takes_more_alone() {
    let server = Server::weakened(&[Switch::CpuLimit]);
    let sandbox = server.create_with(json!({"limits": {"memoryMiB": 64, "cpus": 0.5}}));
    let hog = "import time\nos.fork()\nend = time.time() + SECONDS\nwhile time.time() < end: pass";
    // Others work on the machine: the best of some rounds.
    let best = (0..6).map(|_| share(&sandbox, hog)).find(|share| *share > 0.6);
    assert!(best.is_some(), "never more than 0.6 of a processor");
}
