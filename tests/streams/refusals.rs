//! What goes wrong before the start is an ordinary answer in JSON, on every route of this step.

use crate::{UNKNOWN_ID, stranger};
use bulkhead_tests::{Client, Sandbox, Server};
use serde_json::{Value, json};

/// Method, rest of the path and a body with which the route would succeed, but for the ids.
const ROUTES: &[(&str, &str, &str)] = &[
    ("POST", "/exec-stream", r#"{"command":"touch /tmp/ran"}"#),
    ("POST", "/session-exec", r#"{"action":"create"}"#),
    ("POST", "/session-exec-stream", r#"{"sessionId":"sess-1","command":"touch /tmp/ran"}"#),
    ("POST", "/commands/run", r#"{"command":"touch /tmp/ran"}"#),
    ("GET", "/commands/list", ""),
    ("POST", "/commands/kill", r#"{"pid":1048577}"#),
    ("POST", "/commands/attach", r#"{"pid":1048577}"#),
    ("POST", "/commands/wait", r#"{"pid":1048577}"#),
    ("POST", "/commands/1048577/stdin", ""),
    ("POST", "/commands/1048577/signal", r#"{"signal":15}"#),
    ("POST", "/pty/sessions", ""),
    ("GET", "/pty/sessions", ""),
    ("DELETE", "/pty/sessions/sess-1", ""),
    ("POST", "/pty/sessions/sess-1/execute", r#"{"command":"true"}"#),
    ("GET", "/pty/sessions/sess-1/buffer", ""),
    ("POST", "/pty/sessions/sess-1/resize", r#"{"cols":80,"rows":24}"#),
];

fn assert_each(client: &Client, id: &str, status: u16) {
    for (method, rest, body) in ROUTES {
        let path = format!("/sandboxes/{id}{rest}");
        let answer = client.call(method, &path, Some(*body).filter(|b| !b.is_empty()));
        assert_eq!(answer.status, status, "{method} {rest}: {}", answer.text());
        let _message = answer.error(status);
    }
}

#[test]
fn nobody_else_finds_a_sandbox() {
    let server = Server::start();
    let sandbox = server.create();
    assert_each(server.client(), UNKNOWN_ID, 404);
    assert_each(server.client(), "NOT-AN-ID", 404);
    assert_each(&stranger(&server), sandbox.id(), 404);
    assert_each(&server.client().with_key("bh_wrong"), sandbox.id(), 401);
    assert_eq!(sandbox.exec("ls /tmp").stdout, "");
    assert_eq!((sandbox.running().len(), sandbox.sessions().len()), (0, 0));
}

#[test]
fn a_deleted_sandbox_is_not_found() {
    let server = Server::start();
    let sandbox = server.create();
    sandbox.delete();
    assert_each(server.client(), sandbox.id(), 404);
}

/// A stream has a status of its own only before it starts.
fn refused(sandbox: &Sandbox<'_>, rest: &str, body: &Value, word: &str) {
    let message = sandbox.post(rest, body).error(400);
    assert!(message.contains(word), "{rest} {body}: the message does not name {word}: {message}");
}

#[test]
fn commands_that_cannot_start_are_400() {
    let server = Server::start();
    let sandbox = server.create();
    for rest in ["/exec-stream", "/commands/run"] {
        refused(&sandbox, rest, &json!({}), "command");
        for bad in [json!(""), json!(" \n\t"), json!(1), json!(["true"]), Value::Null, json!("a\u{0}b")] {
            refused(&sandbox, rest, &json!({"command": bad}), "command");
        }
        refused(&sandbox, rest, &json!({"command": format!("#{}", "x".repeat(100_000))}), "command");
        let rows = [
            ("timeout", json!("30")),
            ("timeout", json!(1.5)),
            ("env", json!({"A": 1})),
            ("env", json!({"A=B": "x"})),
            ("cwd", json!(1)),
            ("cwd", json!("/no/such/directory")),
            ("cwd", json!("/etc/passwd")),
            ("user", json!("no-such-user")),
            ("user", json!(0)),
            ("stdin", json!("yes")),
        ];
        for (field, bad) in rows {
            let mut body = json!({"command": "touch /tmp/ran"});
            body[field] = bad;
            refused(&sandbox, rest, &body, field);
        }
    }
    for bad in [json!("stay"), json!(true), json!(1)] {
        refused(
            &sandbox,
            "/exec-stream",
            &json!({"command": "touch /tmp/ran", "onDisconnect": bad}),
            "onDisconnect",
        );
    }
    refused(&sandbox, "/exec-stream?encoding=hex", &json!({"command": "touch /tmp/ran"}), "encoding");
    assert_eq!(sandbox.exec("ls /tmp").stdout, "", "a refused command ran");
}

#[test]
fn handles_are_checked() {
    let server = Server::start();
    let sandbox = server.create();
    for rest in ["/commands/kill", "/commands/wait", "/commands/attach"] {
        refused(&sandbox, rest, &json!({}), "pid");
        for bad in [json!(0), json!(-1), json!("1"), json!(1.5), json!([1]), Value::Null] {
            refused(&sandbox, rest, &json!({"pid": bad}), "pid");
        }
        for unknown in [1_u64, 1 << 20, (1 << 20) + 77, (9 << 20) + 1, 1 << 52] {
            let _message = sandbox.post(rest, &json!({"pid": unknown})).error(404);
        }
    }
    for pid in ["1048653", "1", "9437185"] {
        let _message = sandbox.post(&format!("/commands/{pid}/signal"), &json!({"signal": 15})).error(404);
        let _message = sandbox.post(&format!("/commands/{pid}/stdin"), &json!({})).error(404);
    }
    for odd in ["0", "-1", "x", "1.5", "%2e%2e", "99999999999999999999999"] {
        let answer = sandbox.post(&format!("/commands/{odd}/signal"), &json!({"signal": 15}));
        assert!(matches!(answer.status, 400 | 404), "{odd}: {}", answer.text());
        let _message = answer.error(answer.status);
    }
}

#[test]
fn offsets_are_checked() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("echo x; sleep 60");
    for bad in ["from=-1", "from=x", "from=1.5", "from=99999999999999999999999", "encoding=hex"] {
        refused(
            &sandbox,
            &format!("/commands/attach?{bad}"),
            &json!({"pid": pid}),
            bad.split('=').next().unwrap_or(""),
        );
    }
    let answer = sandbox.open("/commands/attach", &[("Last-Event-ID", "x")], &json!({"pid": pid}));
    assert_eq!(answer.status, 400, "{}", answer.head);
    let _ended = sandbox.kill(pid);
}

#[test]
fn methods_are_checked() {
    let server = Server::start();
    let sandbox = server.create();
    for (method, rest, _) in ROUTES {
        let other = if *method == "GET" { "DELETE" } else { "PUT" };
        let answer = server.client().call(other, &sandbox.path(rest), None);
        assert!(matches!(answer.status, 404 | 405), "{other} {rest}: {}", answer.status);
        let _message = answer.error(answer.status);
    }
}
