//! Shell sessions (contract §8), with a real shell behind an agent that is none.

use crate::client::Answer;
use crate::world::{World, eventually};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn act(world: &World, id: &str, body: &Value) -> Answer {
    world.client().post(&format!("/api/sandboxes/{id}/session-exec"), body)
}

fn exec(world: &World, id: &str, command: &str) -> Value {
    let answer =
        act(world, id, &json!({ "action": "exec", "sessionId": "s", "command": command, "timeout": 3 }));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json
}

#[test]
fn a_session_keeps_its_state_between_commands() {
    let world = World::new();
    let id = world.sandbox("tty");
    let created = act(&world, &id, &json!({ "action": "create", "sessionId": "s", "cols": 100, "rows": 40 }));
    assert_eq!((created.status, created.json), (200, json!({ "success": true, "sessionId": "s" })));
    assert_eq!(act(&world, &id, &json!({ "action": "create", "sessionId": "s" })).status, 409);
    let done = |output: &str, code: u8| json!({ "success": true, "sessionId": "s", "output": output, "exitCode": code });
    assert_eq!(exec(&world, &id, "x='it'\\''s'; cd /usr"), done("", 0));
    assert_eq!(exec(&world, &id, "echo \"$x\"\npwd"), done("it's\n/usr\n", 0));
    assert_eq!(exec(&world, &id, "echo -n no end; (exit 7)"), done("no end", 7));
    assert_eq!(exec(&world, &id, "echo err >&2"), done("err\n", 0));
    assert_ne!(exec(&world, &id, "if")["exitCode"], 0);
    assert_eq!(exec(&world, &id, "echo $COLUMNS $LINES"), done("100 40\n", 0));
    let resized = act(&world, &id, &json!({ "action": "resize", "sessionId": "s", "cols": 90, "rows": 30 }));
    assert_eq!((resized.status, resized.json), (200, json!({ "success": true, "sessionId": "s" })));
    assert_eq!(
        exec(&world, &id, "echo $COLUMNS $LINES; head -c 3000000 /dev/zero")["truncated"],
        3_000_006 - (2 << 20)
    );
    std::thread::scope(|scope| {
        let asks = scope.spawn(|| exec(&world, &id, "read -r line; echo \"got $line\""));
        std::thread::sleep(Duration::from_millis(300));
        let input = act(&world, &id, &json!({ "action": "input", "sessionId": "s", "input": "hello\n" }));
        assert_eq!(input.status, 200, "{input:?}");
        assert_eq!(asks.join().unwrap(), done("got hello\n", 0));
    });
    std::thread::scope(|scope| {
        let start = Instant::now();
        let runs = [(); 4].map(|()| scope.spawn(|| exec(&world, &id, "sleep 0.2; echo once")));
        for run in runs {
            assert_eq!(run.join().unwrap(), done("once\n", 0));
        }
        assert!(start.elapsed() >= Duration::from_millis(800), "one after the other");
    });
    assert_eq!(exec(&world, &id, "echo last; exit 5"), done("last\n", 5));
    eventually("it is gone", || {
        act(&world, &id, &json!({ "action": "close", "sessionId": "s" })).status == 404
    });
}

#[test]
fn a_command_that_takes_too_long_ends_its_session() {
    let world = World::new();
    let id = world.sandbox("tty");
    let created = act(&world, &id, &json!({ "action": "create" }));
    let name = created.json["sessionId"].as_str().unwrap().to_owned();
    assert!(name.starts_with("sess-") && name.len() == 21, "{name}");
    let body = json!({ "action": "exec", "sessionId": name, "command": "echo so far; exec sleep 100", "timeout": 1 });
    let answer = act(&world, &id, &body);
    assert_eq!(answer.json["output"], "so far\n", "{answer:?}");
    assert_eq!((&answer.json["success"], &answer.json["exitCode"]), (&json!(false), &json!(124)));
    eventually("it is gone", || {
        act(&world, &id, &json!({ "action": "close", "sessionId": name })).status == 404
    });
}

#[test]
fn a_stream_is_lines_of_json() {
    let world = World::new();
    let id = world.sandbox("tty");
    act(&world, &id, &json!({ "action": "create", "sessionId": "s" }));
    let path = format!("/api/sandboxes/{id}/session-exec-stream");
    let command = "printf 'a\\342\\202'; sleep 0.1; printf '\\254'; echo b >&2; (exit 3)";
    let answer = world.client().post(&path, &json!({ "sessionId": "s", "command": command }));
    assert_eq!(answer.status, 200);
    assert!(answer.head.to_ascii_lowercase().contains("content-type: application/x-ndjson"), "{answer:?}");
    let lines: Vec<Value> = answer.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |kind: &str| -> String {
        lines.iter().filter(|line| line["type"] == kind).map(|line| line["data"].as_str().unwrap()).collect()
    };
    assert_eq!((text("stdout"), text("stderr")), ("a\u{20ac}".to_owned(), "b\n".to_owned()));
    assert_eq!(lines.last().unwrap(), &json!({ "type": "exit", "exitCode": 3 }));
    assert_eq!(world.client().post(&path, &json!({ "sessionId": "x", "command": "ls" })).status, 404);
}

#[test]
fn what_is_wrong_is_refused_by_name() {
    let world = World::new();
    let id = world.sandbox("tty");
    for (body, status, text) in [
        (json!({}), 400, "action: is required"),
        (json!({ "action": "dance", "sessionId": "s" }), 400, "action: "),
        (json!({ "action": "exec", "command": "ls" }), 400, "sessionId: is required"),
        (json!({ "action": "create", "sessionId": "a b" }), 400, "sessionId: "),
        (json!({ "action": "create", "sessionId": "a".repeat(101) }), 400, "sessionId: "),
        (json!({ "action": "exec", "sessionId": "s" }), 400, "command: is required"),
        (json!({ "action": "exec", "sessionId": "s", "command": " " }), 400, "command: "),
        (json!({ "action": "exec", "sessionId": "s", "command": "x".repeat(100_001) }), 400, "command: "),
        (json!({ "action": "exec", "sessionId": "s", "command": "ls", "timeout": 0 }), 400, "timeout: "),
        (json!({ "action": "input", "sessionId": "s" }), 400, "input: is required"),
        (json!({ "action": "resize", "sessionId": "s", "cols": 80 }), 400, "rows: is required"),
        (json!({ "action": "resize", "sessionId": "s", "cols": 0, "rows": 1 }), 400, "cols: "),
        (json!({ "action": "exec", "sessionId": "s", "command": "ls" }), 404, "session not found"),
        (json!({ "action": "close", "sessionId": "s" }), 404, "session not found"),
    ] {
        let answer = act(&world, &id, &body);
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.error().starts_with(text), "{body}: {answer:?}");
    }
}
