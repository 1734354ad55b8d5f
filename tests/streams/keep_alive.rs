//! Silence is filled with comments, so that no client takes it for an end.

use bulkhead_tests::Server;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn a_silent_stream_says_that_it_lives() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("sleep 33; echo late");
    let mut streams =
        [sandbox.stream_with("", "sleep 33; echo late", json!({"timeout": 60})), sandbox.attach(pid, "")];
    let start = Instant::now();
    for stream in &mut streams {
        // A comment each 15 s: nothing is ever silent for longer.
        stream.answer.patience(Duration::from_secs(18));
    }
    for mut stream in streams {
        let first = stream.next_event().expect("the output");
        assert_eq!((first.name.as_str(), first.data.as_str()), ("stdout", "late\n"));
        assert!((1..=4).contains(&stream.comments), "{} comments in {:?}", stream.comments, start.elapsed());
        assert_eq!(stream.collect().code(), 0);
    }
}

/// Seconds of a long wait: more than the 60 after which its head comes. The long form goes on for longer than the
/// 300 s after which a client gives up one that is silent.
fn long_wait() -> u64 {
    if std::env::var_os("BULKHEAD_TEST_LONG").is_some() { 320 } else { 80 }
}

#[test]
fn a_long_wait_sends_its_head_and_white_space_first() {
    let server = Server::start();
    let sandbox = server.create();
    let start = Instant::now();
    let pid = sandbox.run(&format!("sleep {}; exit 3", long_wait()));
    // The head comes after 60 s, then a space each 15 s.
    let mut answer = sandbox.open_within(Duration::from_secs(70), "/commands/wait", &json!({"pid": pid}));
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(start.elapsed() < Duration::from_secs(75), "the head came after {:?}", start.elapsed());
    answer.patience(Duration::from_secs(20));
    let body = String::from_utf8(answer.read_to_end()).expect("UTF-8");
    assert!(start.elapsed() >= Duration::from_secs(long_wait()), "an end after {:?}", start.elapsed());
    assert!(body.starts_with(' ') || body.starts_with('\n'), "{body:?}");
    let value: Value = serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body:?}"));
    assert_eq!((&value["success"], &value["exitCode"]), (&json!(true), &json!(3)), "{value}");
}
