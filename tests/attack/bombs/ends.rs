//! D16: what a thousand launches leave. D17: states in which a sandbox is hard to end. Each is ended within five seconds and leaves nothing, which the
//! server's leak check proves.

use super::small;
use bulkhead_tests::residue::host_wide;
use bulkhead_tests::{Sandbox, Server, eventually, groups};
use serde_json::json;
use std::time::{Duration, Instant};

/// A destroy takes no longer, whatever runs.
const DESTROY: Duration = Duration::from_secs(5);

/// Programs that go on when the command has ended, with a word by which they are known to run. All end by themselves.
const STATES: [(&str, &str); 7] = [
    ("fork bomb", "SECONDS=0; f() { [ $SECONDS -lt 20 ] && { f | f & }; }; f"),
    (
        "memory",
        "for i in 1 2 3 4 5 6 7 8; do python3 -c 'import time\nend = time.time() + 20\nwhile time.time() < end: b = bytearray(40 << 20)' & done",
    ),
    ("disk", "timeout 20 sh -c 'while :; do dd if=/dev/zero of=/root/f bs=1M conv=fsync; done' &"),
    ("processor", "for i in 1 2 3 4; do timeout 20 sh -c 'while :; do :; done' & done"),
    (
        "locks",
        "mkfifo /tmp/p; timeout 20 cat /tmp/p & for i in 1 2 3; do timeout 20 flock /tmp/l -c 'flock /tmp/m sleep 20' & timeout 20 flock /tmp/m -c 'flock /tmp/l sleep 20' & done",
    ),
    ("stopped", "for i in 1 2 3 4; do sh -c 'kill -STOP $$; sleep 20' & done"),
    // A parent waits in vfork(2), where no signal but KILL reaches it, for a child that stopped.
    (
        "vfork",
        "python3 -c 'import ctypes, os, signal\nlibc = ctypes.CDLL(None)\nsignal.alarm(20)\nos.posix_spawn(\"/bin/sh\", [\"sh\", \"-c\", \"kill -STOP $$\"], {})\nsignal.pause()' &",
    ),
];

fn light(sandbox: &Sandbox<'_>, script: &str) {
    let command = format!("setsid bash -c {} >/dev/null 2>&1 </dev/null &\nsleep 0.5", quoted(script));
    // A full sandbox may refuse or not end: what runs is looked at from outside.
    let _answer = sandbox.post_exec(&json!({"command": command, "timeout": 5}));
    eventually("it runs", || {
        let inside = sandbox.processes().len();
        if inside > 2 { Ok(()) } else { Err(format!("{inside} processes")) }
    });
}

fn quoted(script: &str) -> String {
    format!("'{}'", script.replace('\'', r"'\''"))
}

fn assert_ends(sandbox: &Sandbox<'_>, what: &str) {
    let start = Instant::now();
    sandbox.delete();
    let took = start.elapsed();
    println!("{what}: destroyed in {took:?}");
    assert!(took < DESTROY, "{what}: {took:?}");
    assert!(sandbox.processes().is_empty(), "{what}: {:?}", sandbox.processes());
}

#[test]
fn d17_every_bomb_is_destroyed_within_five_seconds_alone() {
    let server = Server::start();
    for (what, script) in STATES {
        let sandbox = small(&server);
        light(&sandbox, script);
        assert_ends(&sandbox, what);
    }
}

#[test]
fn d17_frozen_bombs_are_destroyed_within_five_seconds_alone() {
    let server = Server::start();
    for (what, script) in STATES {
        let sandbox = small(&server);
        light(&sandbox, script);
        groups::set(&sandbox, "cgroup.freeze", "1");
        assert_ends(&sandbox, &format!("frozen {what}"));
    }
}

#[test]
fn d17_core_dumps_hold_up_no_destroy() {
    let server = Server::start();
    let sandbox = small(&server);
    light(
        &sandbox,
        "for i in 1 2 3 4 5 6; do (python3 -c 'import os, time; b = bytearray(8 << 20); time.sleep(0.4); os.abort()' &) done; sleep 1; sleep 20",
    );
    assert_ends(&sandbox, "dumping");
}

/// Mounts, namespaces and groups that outlive their sandbox make every later launch slower, long before they are
/// counted.
#[test]
fn d16_launches_stay_as_fast_and_leave_nothing_alone() {
    let rounds = if std::env::var_os("BULKHEAD_TEST_LONG").is_some() { 1000 } else { 160 };
    let server = Server::start();
    let round = |_| {
        let start = Instant::now();
        let sandbox = server.create();
        let took = start.elapsed();
        assert_eq!(sandbox.exec("true").code, 0);
        sandbox.delete();
        took
    };
    (0..10).map(round).for_each(drop);
    let before = host_wide();
    let mut times: Vec<Duration> = (0..rounds).map(round).collect();
    let quarter = rounds / 4;
    let [first, last] = [0, rounds - quarter].map(|from| {
        let part = &mut times[from..from + quarter];
        part.sort_unstable();
        part[quarter / 2]
    });
    println!("{rounds} launches: median {first:?} at first, {last:?} at last");
    assert!(last < first * 3 / 2 + Duration::from_millis(2), "{first:?} then {last:?}");
    eventually("the host has what it had", || {
        let now = host_wide();
        if now == before { Ok(()) } else { Err(format!("{before:?} then {now:?}")) }
    });
}
