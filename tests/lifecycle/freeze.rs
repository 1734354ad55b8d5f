//! Freeze and thaw: processes keep their memory and go on where they were.

use crate::{becomes, status, step};
use bulkhead_tests::host::Process;
use bulkhead_tests::{Server, eventually, within};
use serde_json::json;
use std::fs;
use std::time::Duration;

const COUNTER: &str =
    "i=0; while :; do i=$((i+1)); echo $i > /tmp/i.new; mv /tmp/i.new /tmp/i; sleep 0.02; done";

#[test]
fn processes_stand_still_and_go_on() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run(COUNTER);
    let count = || sandbox.exec("cat /tmp/i").line().parse::<u64>().expect("a number");
    // The file is not there at once.
    eventually("it counts", || {
        let looked = sandbox.exec("test $(cat /tmp/i) -gt 3");
        if looked.code == 0 { Ok(()) } else { Err("not yet".to_owned()) }
    });
    let before = count();
    step(&sandbox, "freeze");
    assert_eq!(status(&sandbox), "snapshotted");
    let frozen = sandbox.processes();
    // Looked at from outside: a call would thaw it, and nobody knows how long that takes.
    let stands = || counted(&frozen).expect("what it counted is there");
    let at = stands();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(stands(), at, "it counts on within two frozen seconds");
    assert_eq!(sandbox.processes().len(), frozen.len(), "all are there");
    // The call thaws.
    let after = count();
    assert!(before <= at && at <= after, "{before}, frozen at {at}, {after}");
    assert_eq!(status(&sandbox), "running");
    eventually("it goes on", || if count() > after { Ok(()) } else { Err("not yet".to_owned()) });
    assert!(sandbox.lists(pid));
    // The shell, and between two lines nobody else.
    let killed = sandbox.kill(pid);
    assert!(matches!(killed, 1 | 2), "{killed} were killed");
}

/// What [`COUNTER`] has written, through the root of one of its processes.
fn counted(processes: &[Process]) -> Option<u64> {
    let read = |process: &Process| fs::read_to_string(format!("/proc/{}/root/tmp/i", process.pid)).ok();
    processes.iter().find_map(read)?.trim().parse().ok()
}

#[test]
fn a_stream_outlives_a_freeze() {
    let server = Server::start();
    let sandbox = server.create();
    let long = std::env::var_os("BULKHEAD_TEST_LONG").is_some();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| sandbox.exec_with("echo a; sleep 2; echo b", json!({"timeout": 100})));
        std::thread::sleep(Duration::from_millis(500));
        step(&sandbox, "freeze");
        // An agent is silent for 30 s before it is at fault: longer in the long form.
        std::thread::sleep(Duration::from_secs(if long { 35 } else { 4 }));
        step(&sandbox, "thaw");
        assert_eq!(run.join().expect("the client").ok().stdout, "a\nb\n");
    });
}

#[test]
fn a_frozen_one_sleeps_dies_and_is_deleted_like_any_other() {
    let mut server = Server::start();
    let ids = [(); 3].map(|()| {
        let sandbox = server.create();
        assert!(sandbox.run("sleep 1000") > 0);
        step(&sandbox, "freeze");
        sandbox.id().to_owned()
    });
    server.kill_everything();
    server.start_again();
    let [sleeps, dies, goes] = ids.each_ref().map(|id| bulkhead_tests::Sandbox::of(&server, id));
    for sandbox in [&sleeps, &dies, &goes] {
        assert_eq!(status(sandbox), "snapshotted", "frozen before, frozen after");
    }
    step(&sleeps, "sleep");
    assert!(sleeps.processes().is_empty());
    bulkhead_tests::host::kill9(dies.agent().pid);
    becomes(&dies, "killed");
    goes.delete();
    within(Duration::from_secs(10), "nothing of it is left", || match goes.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    assert_eq!(sleeps.exec("echo x").line(), "x");
}
