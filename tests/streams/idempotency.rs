//! `Idempotency-Key` on exec and commands/run: the same request once, and its answer as often as it is asked.

use bulkhead_tests::streaming::Streaming;
use bulkhead_tests::{Sandbox, Server};
use serde_json::{Value, json};

fn send(sandbox: &Sandbox<'_>, rest: &str, key: &str, body: &Value) -> (u16, Value) {
    let mut answer = sandbox.open(rest, &[("Idempotency-Key", key)], body);
    let text = answer.read_to_end();
    let value = serde_json::from_slice(&text);
    (answer.status, value.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&text))))
}

/// Lines that the commands left.
fn runs(sandbox: &Sandbox<'_>) -> usize {
    sandbox.exec("cat /tmp/runs 2>/dev/null").stdout.lines().count()
}

#[test]
fn an_exec_runs_once() {
    let server = Server::start();
    let sandbox = server.create();
    let body = json!({"command": "echo x >> /tmp/runs; echo out; echo err >&2; exit 5"});
    let (status, first) = send(&sandbox, "/exec", "key-1", &body);
    assert_eq!(
        (status, &first["data"]["stdout"], &first["data"]["exitCode"]),
        (200, &json!("out\n"), &json!(5))
    );
    for _ in 0..3 {
        let (status, again) = send(&sandbox, "/exec", "key-1", &body);
        assert_eq!(status, 200, "{again}");
        for field in ["stdout", "stderr", "exitCode", "end"] {
            assert_eq!(again["data"][field], first["data"][field], "{field}");
        }
    }
    assert_eq!(runs(&sandbox), 1);
    let (status, answer) = send(&sandbox, "/exec", "key-1", &json!({"command": "echo x >> /tmp/runs"}));
    assert_eq!(status, 409, "{answer}");
    assert_eq!(runs(&sandbox), 1);
    let (status, _) = send(&sandbox, "/exec", "key-2", &body);
    assert_eq!((status, runs(&sandbox)), (200, 2), "another key is another request");
}

#[test]
fn a_background_command_runs_once() {
    let server = Server::start();
    let sandbox = server.create();
    let body = json!({"command": "echo x >> /tmp/runs; sleep 1; exit 7"});
    let (status, first) = send(&sandbox, "/commands/run", "key", &body);
    assert_eq!(status, 200, "{first}");
    let (status, again) = send(&sandbox, "/commands/run", "key", &body);
    assert_eq!((status, &again["pid"]), (200, &first["pid"]), "{again}");
    let pid = first["pid"].as_u64().expect("pid");
    assert_eq!(sandbox.wait(pid), 7);
    let (status, later) = send(&sandbox, "/commands/run", "key", &body);
    assert_eq!((status, &later["pid"]), (200, &first["pid"]), "after its end: {later}");
    let (status, other) = send(&sandbox, "/commands/run", "key", &json!({"command": "echo x >> /tmp/runs"}));
    assert_eq!((status, runs(&sandbox)), (409, 1), "{other}");
}

#[test]
fn requests_at_the_same_time_are_one() {
    let server = Server::start();
    let sandbox = server.create();
    let body = json!({"command": "echo x >> /tmp/runs; sleep 1; echo $$"});
    let outputs: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| send(&sandbox, "/exec", "same", &body))).collect();
        let answers = calls.into_iter().map(|call| call.join().expect("an answer"));
        answers
            .map(|(status, answer)| (assert_eq!(status, 200, "{answer}"), answer["data"]["stdout"].clone()).1)
            .collect()
    });
    assert!(outputs.iter().all(|output| *output == outputs[0]), "{outputs:?}");
    assert_eq!(runs(&sandbox), 1);
}

#[test]
fn a_keyed_exec_goes_on_without_its_client() {
    let server = Server::start();
    let sandbox = server.create();
    let body = json!({"command": "echo x >> /tmp/runs; sleep 2; echo survived"});
    let path = sandbox.path("/exec");
    let client = sandbox.client().clone();
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut socket = bulkhead_tests::raw::connect(client.address());
            let text = body.to_string();
            let head = format!(
                "POST /api{path} HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\nIdempotency-Key: lost\r\nContent-Length: {}\r\n\r\n{text}",
                client.key(),
                text.len()
            );
            std::io::Write::write_all(&mut socket, head.as_bytes()).expect("the server listens");
            bulkhead_tests::eventually("it runs", || if runs(&sandbox) == 1 { Ok(()) } else { Err(String::new()) });
        });
        reading.join().expect("the client goes away");
    });
    let (status, answer) = send(&sandbox, "/exec", "lost", &body);
    assert_eq!((status, &answer["data"]["stdout"]), (200, &json!("survived\n")), "{answer}");
    assert_eq!(runs(&sandbox), 1);
}

#[test]
fn keys_belong_to_a_sandbox_and_a_route() {
    let server = Server::start();
    let (one, two) = (server.create(), server.create());
    let body = json!({"command": "echo x >> /tmp/runs; cat /proc/sys/kernel/random/uuid"});
    let (_, first) = send(&one, "/exec", "key", &body);
    let (_, second) = send(&two, "/exec", "key", &body);
    assert_ne!(first["data"]["stdout"], second["data"]["stdout"]);
    let (status, answer) = send(&one, "/commands/run", "key", &body);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(one.wait(answer["pid"].as_u64().expect("pid")), 0);
    assert_eq!((runs(&one), runs(&two)), (2, 1));
}

#[test]
fn keys_have_a_form() {
    let server = Server::start();
    let sandbox = server.create();
    let body = json!({"command": "echo x >> /tmp/runs"});
    let long = "k".repeat(256);
    for bad in ["", long.as_str()] {
        let (status, answer) = send(&sandbox, "/exec", bad, &body);
        assert_eq!(status, 400, "{bad:?}: {answer}");
    }
    assert_eq!(runs(&sandbox), 0);
    let (status, _) = send(&sandbox, "/exec", &long[..255], &body);
    assert_eq!((status, runs(&sandbox)), (200, 1));
}

#[test]
fn what_never_started_may_be_tried_again() {
    let server = Server::start();
    let sandbox = server.create();
    let body = json!({"command": "echo x >> /tmp/runs", "cwd": "/root/later"});
    assert_eq!(send(&sandbox, "/exec", "key", &body).0, 400);
    let _run = sandbox.exec("mkdir /root/later").ok();
    assert_eq!((send(&sandbox, "/exec", "key", &body).0, runs(&sandbox)), (200, 1));
}

#[test]
fn a_restart_of_the_gateway_changes_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let body = json!({"command": "echo x >> /tmp/runs; echo once"});
    let (_, first) = send(&sandbox, "/exec", "key", &body);
    server.kill_half("gateway");
    let path = sandbox.path("/exec");
    let again = bulkhead_tests::eventually("the agent is found again", || {
        let mut answer = Streaming::post(sandbox.client(), &path, &[("Idempotency-Key", "key")], &body);
        let text = answer.read_to_end();
        if answer.status == 200 { Ok(text) } else { Err(String::from_utf8_lossy(&text).into_owned()) }
    });
    let again: Value = serde_json::from_slice(&again).expect("JSON");
    assert_eq!((&again["data"]["stdout"], runs(&sandbox)), (&first["data"]["stdout"], 1));
}
