//! `onDisconnect: "detach"`: a stream that goes on as a background command when its client leaves.

use bulkhead_tests::{Events, Server};
use serde_json::json;
use std::time::Duration;

fn pid_of(events: &Events) -> u64 {
    let text = events.answer.header("x-execution-pid").expect("X-Execution-Pid");
    text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
}

#[test]
fn it_goes_on_and_is_found_again_at_its_offset() {
    let server = Server::start();
    let sandbox = server.create();
    let script = "for i in $(seq 30); do echo line $i; sleep 0.1; done; exit 12";
    let mut events = sandbox.stream_with("", script, json!({"onDisconnect": "detach"}));
    let pid = pid_of(&events);
    let (mut text, mut offset) = (String::new(), 0);
    while text.lines().count() < 5 {
        let event = events.within(Duration::from_secs(5));
        text += &event.data;
        offset = event.id.expect("each event has its offset");
    }
    assert_eq!(offset, text.len() as u64);
    events.answer.cut();
    assert!(sandbox.lists(pid), "{:?}", sandbox.running());
    let rest = sandbox.attach(pid, &format!("?from={offset}")).collect();
    assert_eq!(rest.code(), 12);
    let expected: String = (1..=30).map(|n| format!("line {n}\n")).collect();
    assert_eq!(text + &rest.stdout, expected);
    assert_eq!(rest.events.iter().filter_map(|e| e.id).max(), Some(expected.len() as u64));
    assert_eq!(sandbox.wait(pid), 12);
    assert_eq!(sandbox.attach(pid, "").collect().stdout, expected, "from the start as well");
}

#[test]
fn it_goes_on_without_anybody() {
    let server = Server::start();
    let sandbox = server.create();
    let script = "sleep 1; echo written > /tmp/witness; echo said";
    let events = sandbox.stream_with("", script, json!({"onDisconnect": "detach"}));
    let pid = pid_of(&events);
    events.answer.cut();
    assert_eq!(sandbox.wait(pid), 0);
    assert_eq!(sandbox.exec("cat /tmp/witness").stdout, "written\n");
    assert_eq!(sandbox.attach(pid, "").collect().stdout, "said\n");
}

#[test]
fn one_that_does_not_read_at_its_end_still_ends() {
    let server = Server::start();
    let sandbox = server.create();
    let events =
        sandbox.stream_with("", "yes 98980 | head -c 20000000; echo end", json!({"onDisconnect": "detach"}));
    let pid = pid_of(&events);
    events.answer.cut();
    assert_eq!(sandbox.wait(pid), 0, "with its client gone nothing holds it back");
    let killed = sandbox.stream_with("", "sleep 98980", json!({"onDisconnect": "detach"}));
    let other = pid_of(&killed);
    killed.answer.cut();
    assert!(sandbox.kill(other) >= 1, "it can be killed");
    crate::assert_gone(&sandbox, "98980");
}

#[test]
fn its_timeout_goes_on_too() {
    let server = Server::start();
    let sandbox = server.create();
    let more = json!({"onDisconnect": "detach", "timeout": 2});
    let events = sandbox.stream_with("", "sleep 98981", more);
    let pid = pid_of(&events);
    events.answer.cut();
    assert_eq!(sandbox.wait(pid), 124);
    crate::assert_gone(&sandbox, "98981");
}

#[test]
fn the_default_is_the_end() {
    let server = Server::start();
    let sandbox = server.create();
    let events = sandbox.stream_with("", "sleep 98982", json!({"onDisconnect": "kill"}));
    let pid = pid_of(&events);
    events.answer.cut();
    crate::assert_gone(&sandbox, "98982");
    assert!(!sandbox.lists(pid));
}
