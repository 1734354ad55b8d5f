//! Calls wake what sleeps, once, and run once.

use crate::{status, step};
use bulkhead_tests::{Sandbox, Server};
use serde_json::json;

/// One use of a sandbox.
type Use = fn(&Sandbox<'_>);

#[test]
fn every_kind_of_call_wakes() {
    let server = Server::start();
    let sandbox = server.create();
    let calls: [(&str, Use); 6] = [
        ("exec", |s| assert_eq!(s.exec("echo x").ok().stdout, "x\n")),
        ("exec-stream", |s| assert_eq!(s.stream("echo x").collect().stdout, "x\n")),
        ("commands/run", |s| assert_eq!(s.wait(s.run("exit 7")), 7)),
        ("commands/list", |s| assert!(s.running().is_empty())),
        ("a terminal", |s| drop(s.ephemeral().prompt())),
        ("a session", |s| drop(s.terminal(&s.session(&json!({})), "").prompt())),
    ];
    for state in ["sleep", "freeze"] {
        for (name, call) in calls {
            step(&sandbox, state);
            assert_eq!(status(&sandbox), "snapshotted");
            call(&sandbox);
            assert_eq!(status(&sandbox), "running", "{name} after {state}");
        }
    }
}

#[test]
fn nothing_runs_twice() {
    let server = Server::start();
    let sandbox = server.create();
    for round in 1..=5 {
        step(&sandbox, "sleep");
        std::thread::scope(|scope| {
            let calls: Vec<_> =
                (0..8).map(|_| scope.spawn(|| sandbox.exec("echo x >> /root/count").ok())).collect();
            calls.into_iter().for_each(|call| drop(call.join().expect("the client")));
        });
        assert_eq!(sandbox.exec("wc -l < /root/count").line(), (round * 8).to_string());
    }
}
