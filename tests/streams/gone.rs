//! A client that goes away takes the tree of its stream with it, however that hid.

use bulkhead_tests::{Server, eventually};
use serde_json::json;
use std::time::Duration;

/// Sleeps in the foreground, in a session of its own, and twice forked away from everything.
const HIDDEN: &str = r#"
    trap '' TERM INT HUP PIPE
    setsid sleep 97970 &
    (setsid bash -c '(nohup sleep 97970 >/dev/null 2>&1 &); sleep 0.1' &)
    python3 -c '
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 64)
        os.execv("/usr/bin/sleep", ["sleep", "97970"])
    os._exit(0)
os.wait()'
    echo hidden
    sleep 97970"#;

#[test]
fn the_tree_goes_with_its_client() {
    let server = Server::start();
    let sandbox = server.create();
    let mut events = sandbox.stream_with("", HIDDEN, json!({"timeout": 200}));
    assert_eq!(events.within(Duration::from_secs(10)).data, "hidden\n");
    crate::wait_for(&sandbox, "sleep 97970", 4);
    events.answer.cut();
    crate::assert_gone(&sandbox, "97970");
    assert_eq!(sandbox.exec("echo goes on").stdout, "goes on\n");
}

#[test]
fn a_silent_tree_goes_with_its_client_too() {
    let server = Server::start();
    let sandbox = server.create();
    let answer =
        sandbox.open("/exec-stream", &[], &json!({"command": "sleep 97971 & sleep 97971", "timeout": 200}));
    assert_eq!(answer.status, 200);
    crate::wait_for(&sandbox, "sleep 97971", 2);
    answer.cut();
    crate::assert_gone(&sandbox, "97971");
}

#[test]
fn a_flooding_tree_goes_with_its_client() {
    let server = Server::start();
    let sandbox = server.create();
    let mut events = sandbox.stream_with("", "yes 97972", json!({"timeout": 200}));
    for _ in 0..20 {
        let _event = events.within(Duration::from_secs(10));
    }
    events.answer.cut();
    crate::assert_gone(&sandbox, "yes 97972");
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let gateway = server.half("gateway");
    let sockets = || bulkhead_tests::residue::descriptors(gateway.pid).get("socket").copied().unwrap_or(0);
    let before = sockets();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..25 {
                    let script = "echo x; (setsid sleep 97973 &); sleep 97973";
                    let mut answer =
                        sandbox.open("/exec-stream", &[], &json!({"command": script, "timeout": 200}));
                    if round % 2 == 0 && answer.status == 200 {
                        let _some = answer.read();
                    }
                    answer.cut();
                }
            });
        }
    });
    crate::assert_gone(&sandbox, "97973");
    eventually("the gateway has the descriptors it had", || {
        let now = sockets();
        if now <= before { Ok(()) } else { Err(format!("{now} sockets, before {before}")) }
    });
    assert_eq!(sandbox.running().len(), 0);
}
