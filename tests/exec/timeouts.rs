//! Time is up: exit code 124, the output so far, and no descendant left.

use bulkhead_tests::{Sandbox, Server, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

fn no_sleeper_left(sandbox: &Sandbox<'_>, marker: &str) {
    eventually("every descendant is gone", || {
        let inside = sandbox.processes();
        let left: Vec<_> = inside.iter().filter(|p| p.command.contains(marker)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

#[test]
fn time_is_up() {
    let server = Server::start();
    let sandbox = server.create();
    let start = Instant::now();
    let run = sandbox.exec_with("echo before; echo warned >&2; sleep 71717", json!({"timeout": 1}));
    let took = start.elapsed();
    assert_eq!((run.stdout.as_str(), run.code, run.kind.as_str()), ("before\n", 124, "timeout"));
    assert!(run.stderr.starts_with("warned\n"), "{}", run.data);
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
    no_sleeper_left(&sandbox, "71717");
    assert_eq!(sandbox.exec("echo goes on").stdout, "goes on\n");
}

#[test]
fn no_descendant_survives_however_it_hid() {
    let server = Server::start();
    let sandbox = server.create();
    let script = r#"
        trap '' TERM INT HUP QUIT
        setsid sleep 72727 &
        (setsid bash -c '(nohup sleep 72727 >/dev/null 2>&1 &) ; sleep 0.1' &)
        setsid bash -c 'trap "" TERM; while :; do sleep 72727; done' >/dev/null 2>&1 &
        python3 -c 'import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        os.execv("/usr/bin/sleep", ["sleep", "72727"])
    os._exit(0)
os.wait()'
        echo hidden
        sleep 72727"#;
    let run = sandbox.exec_with(script, json!({"timeout": 2}));
    assert_eq!(
        (run.stdout.as_str(), run.code, run.kind.as_str()),
        ("hidden\n", 124, "timeout"),
        "{}",
        run.data
    );
    no_sleeper_left(&sandbox, "72727");
}

#[test]
fn a_forking_crowd_is_ended_too() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"limits": {"pids": 64}}));
    let pids = sandbox.exec("echo 64 limits this").ok();
    assert_eq!(pids.code, 0);
    // Bounded: 40 loops, each with one child at a time, for two seconds.
    let script =
        "for i in $(seq 40); do (setsid bash -c 'while :; do sleep 73737 & wait; done' &); done; sleep 73737";
    let run = sandbox.exec_with(script, json!({"timeout": 2}));
    assert_eq!(run.kind, "timeout", "{}", run.data);
    no_sleeper_left(&sandbox, "73737");
    assert_eq!(sandbox.exec("echo room again").stdout, "room again\n");
}

#[test]
fn only_the_command_that_is_out_of_time_ends() {
    let server = Server::start();
    let sandbox = server.create();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| sandbox.exec("sleep 3; echo whole"));
        let short = sandbox.exec_with("sleep 74747", json!({"timeout": 1}));
        assert_eq!(short.code, 124);
        assert_eq!(long.join().expect("an answer").ok().stdout, "whole\n");
    });
}

#[test]
fn a_command_that_ends_in_time_is_not_timed_out() {
    let server = Server::start();
    let sandbox = server.create();
    let run = sandbox.exec_with("sleep 0.9; echo done", json!({"timeout": 2})).ok();
    assert_eq!(run.stdout, "done\n");
    assert_eq!(sandbox.exec("exit 124").kind, "exited", "the number alone says nothing");
}
