//! `stdin: true` and `POST …/commands/{pid}/stdin`; `POST …/commands/{pid}/signal`.

use bulkhead_tests::streaming::Streaming;
use bulkhead_tests::{Sandbox, Server, eventually};
use serde_json::{Value, json};
use std::time::Duration;

/// Sends bytes to a command's standard input; the status and the answer.
fn type_in(sandbox: &Sandbox<'_>, pid: u64, query: &str, bytes: &[u8]) -> (u16, Value) {
    let path = sandbox.path(&format!("/commands/{pid}/stdin{query}"));
    let headers = [("Content-Type", "application/octet-stream")];
    let mut answer = Streaming::post_bytes(sandbox.client(), &path, &headers, bytes);
    let body = answer.read_to_end();
    let value = serde_json::from_slice(&body);
    (answer.status, value.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&body))))
}

/// Sends all of it.
fn feed(sandbox: &Sandbox<'_>, pid: u64, query: &str, bytes: &[u8]) {
    let (status, answer) = type_in(sandbox, pid, query, bytes);
    assert_eq!(
        (status, &answer["success"], &answer["bytes"]),
        (200, &json!(true), &json!(bytes.len())),
        "{answer}"
    );
}

#[test]
fn what_is_sent_is_read_until_it_is_closed() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox
        .run_with("while read -r line; do echo \"<$line>\"; done; echo end; exit 4", json!({"stdin": true}));
    let mut events = sandbox.attach(pid, "");
    feed(&sandbox, pid, "", b"one\ntw");
    assert_eq!(events.within(Duration::from_secs(5)).data, "<one>\n");
    feed(&sandbox, pid, "", b"o\n");
    assert_eq!(events.within(Duration::from_secs(5)).data, "<two>\n");
    feed(&sandbox, pid, "?close=true", b"three\n");
    let rest = events.collect();
    assert_eq!((rest.stdout.as_str(), rest.code()), ("<three>\nend\n", 4));
}

#[test]
fn bytes_are_bytes_and_many_of_them_fit() {
    let server = Server::start();
    let sandbox = server.create();
    let every: Vec<u8> = (0..=255).collect();
    let pid = sandbox.run_with("od -An -v -tu1 | tr -s ' \\n' ' '", json!({"stdin": true}));
    feed(&sandbox, pid, "?close=true", &every);
    let expected: Vec<String> = every.iter().map(u8::to_string).collect();
    assert_eq!(sandbox.attach(pid, "").collect().stdout.trim(), expected.join(" "));
    let pid = sandbox.run_with("sleep 0.5; wc -c", json!({"stdin": true}));
    feed(&sandbox, pid, "", &vec![b'x'; 1_000_000]);
    feed(&sandbox, pid, "?close=true", b"");
    assert_eq!(sandbox.attach(pid, "").collect().stdout.trim(), "1000000");
}

#[test]
fn a_stream_takes_input_too() {
    let server = Server::start();
    let sandbox = server.create();
    let mut events = sandbox.stream_with("", "echo ready; cat; exit 2", json!({"stdin": true}));
    let pid = events.answer.header("x-execution-pid").and_then(|v| v.parse().ok()).expect("X-Execution-Pid");
    assert_eq!(events.within(Duration::from_secs(5)).data, "ready\n");
    feed(&sandbox, pid, "?close=true", b"through\n");
    let rest = events.collect();
    assert_eq!((rest.stdout.as_str(), rest.code()), ("through\n", 2));
}

#[test]
fn what_takes_no_input_says_so() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("readlink /proc/self/fd/0; sleep 60");
    let (status, answer) = type_in(&sandbox, pid, "", b"x");
    assert_eq!(status, 409, "{answer}");
    assert_eq!(sandbox.attach(pid, "").within(Duration::from_secs(5)).data, "/dev/null\n");
    let _ended = sandbox.kill(pid);
    let closed = sandbox.run_with("cat; sleep 60", json!({"stdin": true}));
    feed(&sandbox, closed, "?close=true", b"x");
    let (status, answer) = type_in(&sandbox, closed, "", b"y");
    assert_eq!(status, 409, "after the close: {answer}");
    let _ended = sandbox.kill(closed);
    let (status, answer) = type_in(&sandbox, closed, "", b"z");
    assert_eq!(status, 409, "after the end: {answer}");
}

#[test]
fn a_program_that_does_not_read_blocks_only_who_types() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run_with("sleep 70707", json!({"stdin": true}));
    std::thread::scope(|scope| {
        let typing = scope.spawn(|| type_in(&sandbox, pid, "", &vec![b'x'; 1_000_000]));
        assert_eq!(sandbox.exec("echo goes on").stdout, "goes on\n");
        let _ended = sandbox.kill(pid);
        let (status, answer) = typing.join().expect("an answer");
        assert!(matches!(status, 200 | 409), "{status}: {answer}");
        assert!(status == 409 || answer["bytes"].as_u64() < Some(1_000_000), "{answer}");
    });
}

#[test]
fn too_much_at_once_is_413() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run_with("cat >/dev/null", json!({"stdin": true}));
    let (status, answer) = type_in(&sandbox, pid, "", &vec![b'x'; 3 << 20]);
    assert_eq!(status, 413, "{answer}");
    let _ended = sandbox.kill(pid);
}

#[test]
fn signals_reach_every_process() {
    let server = Server::start();
    let sandbox = server.create();
    let script =
        "trap 'echo usr1' USR1; trap 'echo bye; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let pid = sandbox.run(script);
    let mut events = sandbox.attach(pid, "");
    assert_eq!(events.within(Duration::from_secs(5)).data, "ready\n");
    let path = format!("/commands/{pid}/signal");
    // Each sleep dies of it, the shell goes on.
    let answer = sandbox.post(&path, &json!({"signal": 10})).expect(200).json();
    assert_eq!(answer["success"], true, "{answer}");
    assert!(events.within(Duration::from_secs(5)).is_output());
    let _answer = sandbox.post(&path, &json!({"signal": 15})).expect(200);
    assert_eq!(events.collect().code(), 9);
    assert_eq!(sandbox.post(&path, &json!({"signal": 15})).status, 409, "after the end");
    let stopped = sandbox.run("sleep 70708");
    let path = format!("/commands/{stopped}/signal");
    let _answer = sandbox.post(&path, &json!({"signal": 19})).expect(200);
    eventually("it is stopped", || {
        let states: Vec<_> =
            sandbox.processes().into_iter().filter(|p| p.command.contains("70708")).collect();
        if states.iter().all(|p| p.state == 'T') { Ok(()) } else { Err(format!("{states:?}")) }
    });
    assert!(sandbox.kill(stopped) >= 1, "what is stopped can be killed");
}

#[test]
fn h12_only_signals_are_signals() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("sleep 70709");
    let odd = [
        json!(0),
        json!(65),
        json!(-9),
        json!(32),
        json!("KILL; rm"),
        json!(""),
        json!(1.5),
        json!([15]),
        Value::Null,
    ];
    for bad in odd {
        let message = sandbox.post(&format!("/commands/{pid}/signal"), &json!({"signal": bad})).error(400);
        assert!(message.contains("signal"), "{bad}: {message}");
    }
    let _message = sandbox.post(&format!("/commands/{pid}/signal"), &json!({})).error(400);
    assert!(sandbox.lists(pid), "none of them arrived");
    let _ended = sandbox.kill(pid);
}

#[test]
fn a_signal_to_processes_that_come_and_go_is_no_fault() {
    let server = Server::start();
    let sandbox = server.create();
    let script = "trap '' URG; for i in 1 2 3; do (while :; do /bin/true; done) & done; wait";
    let pid = sandbox.run(script);
    for round in 0..300 {
        let answer = sandbox.post(&format!("/commands/{pid}/signal"), &json!({"signal": "URG"}));
        assert_eq!(answer.status, 200, "round {round}: {}", answer.text());
    }
    let _ended = sandbox.kill(pid);
    let message = sandbox.post(&format!("/commands/{pid}/signal"), &json!({"signal": "URG"})).error(409);
    assert!(!message.is_empty());
}

#[test]
fn input_that_waits_is_answered_when_its_command_is_killed() {
    let server = Server::start();
    let sandbox = server.create();
    let bytes = vec![b'x'; 1 << 20];
    for round in 0..40_u64 {
        let pid = sandbox.run_with("sleep 70710", json!({"stdin": true}));
        std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..2).map(|_| scope.spawn(|| type_in(&sandbox, pid, "", &bytes))).collect();
            std::thread::sleep(Duration::from_micros(500 * round));
            let _killed = sandbox.kill(pid);
            for writer in writers {
                let (status, answer) = writer.join().expect("an answer");
                let taken = answer["bytes"].as_u64().is_some_and(|taken| taken < 1 << 20);
                assert!(status == 409 || (status == 200 && taken), "round {round}: {status} {answer}");
            }
        });
    }
}
