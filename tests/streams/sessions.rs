//! session-exec and session-exec-stream: contract §8.

use bulkhead_tests::{Sandbox, Server};
use serde_json::{Value, json};

fn act(sandbox: &Sandbox<'_>, body: &Value) -> Value {
    let answer = sandbox.post("/session-exec", body).expect(200).json();
    assert!(answer["success"].is_boolean() && answer.get("status").is_none(), "bare: {answer}");
    answer
}

fn create(sandbox: &Sandbox<'_>, more: &Value) -> String {
    let mut body = json!({"action": "create"});
    body.as_object_mut().expect("a literal object").extend(more.as_object().expect("an object").clone());
    let answer = act(sandbox, &body);
    assert_eq!(answer["success"], true, "{answer}");
    answer["sessionId"].as_str().unwrap_or_else(|| panic!("sessionId in {answer}")).to_owned()
}

#[test]
fn a_session_remembers() {
    let server = Server::start();
    let sandbox = server.create();
    let session = create(&sandbox, &json!({}));
    let hex = session.strip_prefix("sess-").unwrap_or_default();
    assert!(hex.len() == 16 && hex.chars().all(|c| c.is_ascii_hexdigit()), "{session}");
    let exec =
        |command: &str| act(&sandbox, &json!({"action": "exec", "sessionId": session, "command": command}));
    let first = exec("cd /tmp; A=kept; echo one");
    assert_eq!(
        (&first["success"], &first["sessionId"], &first["exitCode"]),
        (&json!(true), &json!(session), &json!(0))
    );
    assert_eq!(first["output"].as_str().map(str::trim), Some("one"), "{first}");
    let second = exec("pwd; echo $A; (exit 3)");
    assert_eq!(second["exitCode"], 3, "{second}");
    let output = second["output"].as_str().unwrap_or_default().replace('\r', "");
    assert_eq!(output.trim(), "/tmp\nkept", "{second}");
    let closed = act(&sandbox, &json!({"action": "close", "sessionId": session}));
    assert_eq!(closed["success"], true, "{closed}");
    let gone =
        sandbox.post("/session-exec", &json!({"action": "exec", "sessionId": session, "command": "true"}));
    assert!(matches!(gone.status, 400 | 404), "{}", gone.text());
}

#[test]
fn a_status_is_seen_by_the_next_command() {
    let server = Server::start();
    let sandbox = server.create();
    for shell in ["bash", "sh"] {
        let session = create(&sandbox, &json!({"shell": shell}));
        let status = |command: &str| {
            let body = json!({"action": "exec", "sessionId": session, "command": command});
            let answer = act(&sandbox, &body);
            (answer["output"].as_str().unwrap_or_default().trim().to_owned(), answer["exitCode"].clone())
        };
        assert_eq!(status("echo $?"), ("0".into(), json!(0)), "{shell}");
        assert_eq!(status("(exit 7)"), (String::new(), json!(7)), "{shell}");
        assert_eq!(status("echo $?; false"), ("7".into(), json!(1)), "{shell}");
        let _resized =
            act(&sandbox, &json!({"action": "resize", "sessionId": session, "cols": 100, "rows": 40}));
        assert_eq!(status("echo $?"), ("1".into(), json!(0)), "{shell}: a resize is no command");
        assert_eq!(status("echo $?"), ("0".into(), json!(0)), "{shell}");
    }
}

#[test]
fn sessions_are_apart_and_may_be_named() {
    let server = Server::start();
    let sandbox = server.create();
    let (one, two) = (
        create(&sandbox, &json!({"sessionId": "my-own"})),
        create(&sandbox, &json!({"cols": 100, "rows": 40})),
    );
    assert_eq!(one, "my-own");
    let exec = |id: &str, command: &str| {
        act(&sandbox, &json!({"action": "exec", "sessionId": id, "command": command}))
    };
    let _first = exec(&one, "A=one");
    let other = exec(&two, "echo \"[$A]\"");
    assert_eq!(other["output"].as_str().map(str::trim), Some("[]"), "{other}");
    let resized = act(&sandbox, &json!({"action": "resize", "sessionId": two, "cols": 120, "rows": 50}));
    assert_eq!(resized["success"], true, "{resized}");
    let typed = act(&sandbox, &json!({"action": "input", "sessionId": two, "input": "touch /tmp/typed\n"}));
    assert_eq!(typed["success"], true, "{typed}");
    bulkhead_tests::eventually("what was typed is run", || {
        if sandbox.exec("test -e /tmp/typed").code == 0 { Ok(()) } else { Err(String::new()) }
    });
    for id in [&one, &two] {
        let _closed = act(&sandbox, &json!({"action": "close", "sessionId": id}));
    }
}

#[test]
fn what_is_missing_or_unknown_is_refused() {
    let server = Server::start();
    let sandbox = server.create();
    let session = create(&sandbox, &json!({}));
    let rows = [
        json!({}),
        json!({"action": "dance"}),
        json!({"action": 1}),
        json!({"action": "exec", "command": "true"}),
        json!({"action": "exec", "sessionId": session}),
        json!({"action": "exec", "sessionId": session, "command": ""}),
        json!({"action": "input", "sessionId": session}),
        json!({"action": "resize", "sessionId": session}),
        json!({"action": "resize", "sessionId": session, "cols": 0, "rows": 24}),
        json!({"action": "resize", "sessionId": session, "cols": 80}),
        json!({"action": "close"}),
        json!({"action": "create", "sessionId": session}),
        json!({"action": "create", "cols": 501}),
    ];
    for body in rows {
        let answer = sandbox.post("/session-exec", &body);
        assert!(matches!(answer.status, 400 | 409), "{body}: {} {}", answer.status, answer.text());
        let _message = answer.error(answer.status);
    }
    for action in ["exec", "input", "resize", "close"] {
        let body = json!({"action": action, "sessionId": "sess-0000000000000000", "command": "true", "input": "x", "cols": 80, "rows": 24});
        let answer = sandbox.post("/session-exec", &body);
        assert!(matches!(answer.status, 400 | 404), "{action}: {}", answer.text());
    }
}

#[test]
fn a_session_has_the_shell_that_was_asked_for() {
    let server = Server::start();
    let sandbox = server.create();
    let session = create(&sandbox, &json!({"shell": "/bin/sh"}));
    let body =
        json!({"action": "exec", "sessionId": session, "command": "echo \"[$BASH_VERSION]\"; echo $0"});
    let answer = act(&sandbox, &body);
    let output = answer["output"].as_str().unwrap_or_default().replace('\r', "");
    assert!(output.contains("sh\n") && !output.contains("bash"), "{answer}");
    for bad in ["/no/such/shell", "/etc/passwd"] {
        let answer = sandbox.post("/session-exec", &json!({"action": "create", "shell": bad}));
        assert_eq!(answer.status, 400, "{bad} is no shell: {}", answer.text());
    }
}

#[test]
fn a_stream_of_lines_ends_with_the_exit() {
    let server = Server::start();
    let sandbox = server.create();
    let session = create(&sandbox, &json!({}));
    let body = json!({"sessionId": session, "command": "echo one; echo \"zwei ü\"; sh -c 'exit 6'"});
    let mut answer = sandbox.open("/session-exec-stream", &[], &body);
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert!(
        answer.header("content-type").is_some_and(|v| v.starts_with("application/x-ndjson")),
        "{}",
        answer.head
    );
    let text = String::from_utf8(answer.read_to_end()).expect("UTF-8");
    assert!(text.ends_with('\n'), "{text:?}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
        .collect();
    let (exit, output) = lines.split_last().expect("an exit");
    assert_eq!((&exit["type"], &exit["exitCode"]), (&json!("exit"), &json!(6)), "{lines:?}");
    let joined: String = output.iter().map(|line| line["data"].as_str().expect("data")).collect();
    assert_eq!(joined.replace('\r', "").trim(), "one\nzwei ü");
    assert!(output.iter().all(|line| line["type"] == "stdout" || line["type"] == "stderr"), "{lines:?}");
    for bad in [
        json!({}),
        json!({"sessionId": session}),
        json!({"sessionId": session, "command": ""}),
        json!({"sessionId": "x".repeat(101), "command": "true"}),
        json!({"sessionId": "", "command": "true"}),
    ] {
        let _message = sandbox.post("/session-exec-stream", &bad).error(400);
    }
    let unknown = sandbox
        .post("/session-exec-stream", &json!({"sessionId": "sess-0000000000000000", "command": "true"}));
    assert!(matches!(unknown.status, 400 | 404), "{}", unknown.text());
}
