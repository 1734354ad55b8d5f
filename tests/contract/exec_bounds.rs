//! `POST /sandboxes/{id}/exec` that is refused, and the edges that are not.

use crate::{UNKNOWN_ID, assert_refused};
use bulkhead_tests::{Sandbox, Server};
use serde_json::{Value, json};

fn refused(sandbox: &Sandbox<'_>, field: &str, bad: &[Value]) {
    assert_refused(field, bad, |value| {
        let mut body = json!({"command": "echo must not run > /tmp/ran"});
        body[field] = value.clone();
        sandbox.post_exec(&body)
    });
    assert_eq!(sandbox.exec("cat /tmp/ran 2>/dev/null").stdout, "", "a refused command ran");
}

#[test]
fn command() {
    let server = Server::start();
    let sandbox = server.create();
    let too_long = format!("true #{}", "x".repeat(100_000));
    refused(
        &sandbox,
        "command",
        &[
            json!(""),
            json!("  \n\t "),
            json!(1),
            json!(["true"]),
            json!({}),
            Value::Null,
            json!(too_long),
            json!("echo a\u{0}b"),
        ],
    );
    let message = sandbox.post_exec(&json!({})).error(400);
    assert!(message.contains("command"), "{message}");
    let longest = format!("echo fits #{}", "x".repeat(100_000 - 11));
    assert_eq!(longest.len(), 100_000);
    assert_eq!(sandbox.exec(&longest).stdout, "fits\n");
    assert_eq!(sandbox.exec("\n\n   echo trimmed\n  ").stdout, "trimmed\n");
}

#[test]
fn h12_timeout() {
    let server = Server::start();
    let sandbox = server.create();
    refused(&sandbox, "timeout", &[json!("30"), json!(1.5), json!(true), json!([30])]);
    for odd in [json!(0), json!(-1), json!(301), json!(86400), json!(i64::MAX), json!(i64::MIN), Value::Null]
    {
        assert_eq!(sandbox.exec_with("echo ran", json!({"timeout": odd})).stdout, "ran\n", "{odd}");
    }
}

#[test]
fn env() {
    let server = Server::start();
    let sandbox = server.create();
    refused(
        &sandbox,
        "env",
        &[
            json!([]),
            json!("A=b"),
            json!({"A": 1}),
            json!({"": "x"}),
            json!({"A=B": "x"}),
            json!({"A\u{0}": "x"}),
            json!({"A": "x\u{0}"}),
        ],
    );
    assert_eq!(sandbox.exec_with("echo ran", json!({"env": null, "cwd": null})).stdout, "ran\n");
    let run = sandbox.exec_with("printenv 'odd.name' A", json!({"env": {"odd.name": "1", "A": "é\n"}}));
    assert_eq!(run.stdout, "1\né\n\n");
}

#[test]
fn cwd() {
    let server = Server::start();
    let sandbox = server.create();
    refused(&sandbox, "cwd", &[json!(1), json!([]), json!({}), json!("/tmp\u{0}")]);
    refused(
        &sandbox,
        "cwd",
        &[json!("/no/such/directory"), json!("/etc/passwd"), json!(format!("/{}", "x".repeat(5000)))],
    );
}

#[test]
fn args_and_background() {
    let server = Server::start();
    let sandbox = server.create();
    refused(&sandbox, "args", &[json!("a"), json!([1]), json!({}), json!(["a\u{0}"])]);
    refused(&sandbox, "background", &[json!("true"), json!(1)]);
    let run = sandbox
        .exec_with("printf '[%s]'", json!({"args": ["a b", "$HOME", "'", "", "*"], "background": false}));
    assert_eq!(run.stdout, "[a b][$HOME]['][][*]");
    assert_eq!(sandbox.exec_with("echo none", json!({"args": []})).stdout, "none\n");
    assert_eq!(sandbox.exec_with("echo unknown", json!({"nosuch": [1], "user": null})).stdout, "unknown\n");
}

#[test]
fn an_unknown_sandbox_is_404_whatever_the_command() {
    let server = Server::start();
    let path = format!("/sandboxes/{UNKNOWN_ID}/exec");
    let _message = server.client().post(&path, &json!({"command": "true"})).error(404);
    for method in ["GET", "PUT", "DELETE"] {
        let answer = server.client().call(method, &path, None);
        assert!(matches!(answer.status, 404 | 405), "{method}: {}", answer.status);
        let _message = answer.error(answer.status);
    }
}
