//! Two sandboxes on one host do not exist for each other (I06), and do not use up what they share
//! (D11, group N; N01 is in `bombs/alone.rs`, N03 in `bombs/processes.rs`).
//!
//! Left out: N04 and N06, since sandboxes have no network but loopback.

use crate::{assert_all, outcome};
use bulkhead_tests::Server;
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn i06_processes_ports_files_queues_and_memory_are_apart() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    // Left running when the command ends, as any daemon would be.
    let script = "(exec -a find-me-42 sleep 60 >/dev/null 2>&1 &)
        for d in /tmp /root /dev/shm; do echo of-one > $d/mine; done
        (python3 -m http.server 8765 --bind 127.0.0.1 >/dev/null 2>&1 &)
        ipcmk -M 4096 >/dev/null; ipcmk -Q >/dev/null";
    let _run = one.exec(script).ok();
    bulkhead_tests::eventually("the first one serves", || {
        let ask =
            "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 8765), 2); print(\"up\")'";
        let run = one.exec(ask);
        if run.line() == "up" { Ok(()) } else { Err(run.stderr) }
    });
    let results = outcome(
        &two,
        r#"
import subprocess
s = socket.socket()
s.settimeout(2)
processes = subprocess.run("cat /proc/[0-9]*/cmdline", shell=True, capture_output=True).stdout
ipcs = subprocess.run(["ipcs", "-mq"], capture_output=True, text=True).stdout
print(json.dumps({
    "process": "seen" if b"find-me-" + b"42" in processes else "absent",
    "port": "absent" if attempt(s.connect, ("127.0.0.1", 8765)) == "ECONNREFUSED" else "seen",
    "files": "seen" if any(os.path.exists(d + "/mine") for d in ("/tmp", "/root", "/dev/shm")) else "absent",
    "shared memory": "seen" if "0x" in ipcs else "absent",
}))"#,
    );
    assert_all(&results, &["absent"]);
}

#[test]
fn d11_what_one_uses_up_the_other_still_has() {
    let server = Server::start();
    let limits = json!({"memoryMiB": 128, "pids": 64, "openFiles": 1024, "cpus": 0.5});
    let greedy = server.create_with(json!({"limits": limits}));
    let other = server.create();
    let used = outcome(
        &greedy,
        r#"
def until_refused(make, most):
    kept = []
    try:
        while len(kept) < most:
            kept.append(make())
        return "ok"
    except OSError as e:
        return name_of(e.errno)
def inotify():
    fd = libc.inotify_init()
    if fd < 0:
        raise OSError(ctypes.get_errno(), "inotify_init")
    return fd
print(json.dumps({
    "inotify": until_refused(inotify, 900),
    "ptys": until_refused(lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY), 200),
}))"#,
    );
    assert_eq!(used["inotify"], "EMFILE", "watch instances are limited: {used}");
    assert_eq!(used["ptys"], "ENOSPC", "terminals are limited: {used}");
    let run = other.exec("python3 -c 'import pty; pty.openpty(); print(1)'").ok();
    assert_eq!(run.line(), "1");
}

/// What a busy machine may add to any one call.
const NOISE: Duration = Duration::from_millis(30);

/// The median of some calls.
fn median(calls: usize, mut call: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..calls)
        .map(|_| {
            let start = Instant::now();
            call();
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[calls / 2]
}

fn come_and_go(server: &Server) {
    let sandbox = server.create();
    let _run = sandbox.exec("true").ok();
    sandbox.delete();
}

/// The page cache of shared files is one for all (N2): who throws it out makes others read again. What that costs a
/// start is bounded, not nothing.
#[test]
fn n08_who_throws_shared_files_out_of_memory_delays_a_start_little_alone() {
    let server = Server::start();
    let greedy = server.create();
    let quiet = median(10, || come_and_go(&server));
    let throw = "timeout 6 python3 -c 'import os\nwhile True:\n for d, _, fs in os.walk(\"/usr/bin\"):\n  for f in fs:\n   \
                 try:\n    fd = os.open(os.path.join(d, f), 0); os.posix_fadvise(fd, 0, 0, 4); os.close(fd)\n   except OSError: pass'";
    let loud = std::thread::scope(|scope| {
        let _thrower = scope.spawn(|| greedy.post_exec(&json!({"command": throw, "timeout": 10})));
        std::thread::sleep(Duration::from_millis(300));
        median(10, || come_and_go(&server))
    });
    println!("create, exec, destroy: {quiet:?}, beside one who throws files out {loud:?}");
    assert!(loud < quiet * 3 + NOISE, "{quiet:?}, then {loud:?}");
}

#[test]
fn n09_open_streams_of_one_do_not_slow_calls_of_another_alone() {
    let server = Server::start();
    let (one, other) = (server.create(), server.create());
    let call = || drop(other.exec("true").ok());
    let _warm = median(20, call);
    let quiet = median(100, call);
    let streams: Vec<_> = (0..64)
        .map(|_| one.open("/exec-stream", &[], &json!({"command": "sleep 71831"})))
        .filter(|stream| stream.status == 200)
        .collect();
    assert!(streams.len() >= 32, "{} streams were opened", streams.len());
    let loud = (0..3).map(|_| median(100, call)).min().expect("three");
    println!("exec: {quiet:?}, beside {} open streams {loud:?}", streams.len());
    assert!(loud <= quiet * 3 / 2 + Duration::from_millis(2), "{quiet:?}, then {loud:?}");
}

#[test]
fn n10_many_creates_of_one_hold_up_a_create_of_another_little_alone() {
    let server = Server::start();
    assert!(server.command(&["org", "create", "other"]).status.success());
    let key = server.command(&["key", "create", "--org", "other"]);
    let other = server.client().with_key(String::from_utf8_lossy(&key.stdout).trim());
    let create = || {
        let answer = other.post("/sandboxes", &json!({"name": "b"})).expect(201);
        let id = answer.data()["id"].as_str().expect("an id").to_owned();
        let _gone = other.delete(&format!("/sandboxes/{id}")).expect(200);
    };
    let solo = median(5, create);
    let loud = std::thread::scope(|scope| {
        for _ in 0..4 {
            let server = &server;
            scope.spawn(move || (0..10).for_each(|_| come_and_go(server)));
        }
        median(5, create)
    });
    println!("create and destroy: {solo:?} alone, {loud:?} beside four who do so all the time");
    // The launcher serves one after the other: each of four is before it once.
    assert!(loud < solo * 6 + NOISE, "{solo:?}, then {loud:?}");
}
