//! Commands that run on by themselves: run, list, attach, wait, kill, input, keys.

use crate::client::Answer;
use crate::commands_agent::UNDELIVERED;
use crate::streams::exit;
use crate::world::{World, descriptors, eventually};
use serde_json::{Value, json};
use std::io::{Read, Write};

struct Commands {
    world: World,
    id: String,
}

impl Commands {
    fn new() -> Self {
        let world = World::new();
        let id = world.sandbox("code");
        Self { world, id }
    }

    fn path(&self, what: &str) -> String {
        format!("/api/sandboxes/{}/commands/{what}", self.id)
    }

    fn post(&self, what: &str, body: &Value) -> Answer {
        self.world.client().post(&self.path(what), body)
    }

    fn run(&self, body: &Value) -> u64 {
        let answer = self.post("run", body);
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!((&answer.json["success"], &answer.json["command"]), (&json!(true), &body["command"]));
        answer.json["pid"].as_u64().unwrap()
    }

    fn list(&self) -> Vec<u64> {
        let answer = self.world.client().get(&self.path("list"));
        assert_eq!((answer.status, &answer.json["success"]), (200, &json!(true)), "{answer:?}");
        let processes = answer.json["processes"].as_array().unwrap();
        processes.iter().map(|process| process["pid"].as_u64().unwrap()).collect()
    }
}

/// What a client makes of the events of standard output.
fn stdout(text: &str) -> String {
    let events = text.split("\n\n").filter_map(|event| event.strip_prefix("event:stdout\n"));
    events
        .map(|event| {
            let data: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data:")).collect();
            data.join("\n")
        })
        .collect()
}

#[test]
fn a_command_is_started_listed_attached_and_killed() {
    let sandbox = Commands::new();
    assert!(sandbox.list().is_empty());
    let pid = sandbox.run(&json!({"command": " hold\n", "timeout": 0}));
    let answer = sandbox.world.client().get(&sandbox.path("list"));
    let expected = json!({
        "pid": pid, "command": "hold", "startTime": "2023-11-14T22:13:20Z", "running": true, "stdin": false,
        "offset": 7
    });
    assert_eq!(answer.json["processes"], json!([expected]));
    let client = sandbox.world.client();
    let mut streams: Vec<_> = (0..3).map(|_| client.connect()).collect();
    let body = json!({"pid": pid}).to_string();
    for stream in &mut streams {
        stream.write_all(&client.text("POST", &sandbox.path("attach"), body.as_bytes())).unwrap();
        let mut seen = Vec::new();
        let mut byte = [0; 256];
        while !String::from_utf8_lossy(&seen).contains("data:so far\ndata:\nid:7\n\n") {
            let count = stream.read(&mut byte).unwrap();
            seen.extend_from_slice(&byte[..count]);
        }
        assert!(String::from_utf8_lossy(&seen).contains(&format!("x-execution-pid: {pid}")));
    }
    let killed = sandbox.post("kill", &json!({"pid": pid}));
    let expected = json!({"success": true, "message": "the command was killed", "killed": 1, "confirmed": "cgroup-empty"});
    assert_eq!((killed.status, killed.json), (200, expected));
    for mut stream in streams {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains(r#""exitCode":137,"error":"it was killed","end":{"kind":"killed"}"#), "{text}");
    }
    assert!(sandbox.list().is_empty());
    assert_eq!(sandbox.post("kill", &json!({"pid": pid})).json["killed"], 0);
    let waited = sandbox.post("wait", &json!({"pid": pid}));
    assert_eq!((waited.status, &waited.json["exitCode"]), (200, &json!(137)));
    assert_eq!((&waited.json["success"], &waited.json["end"]["kind"]), (&json!(true), &json!("killed")));
    assert!(exit(&sandbox.post("attach", &json!({"pid": pid})).text)["error"].is_string());
}

#[test]
fn a_pid_is_checked_everywhere() {
    let sandbox = Commands::new();
    for what in ["kill", "wait", "attach"] {
        for (pid, status) in
            [(json!(0), 400), (json!(-1), 400), (json!("1"), 400), (json!(null), 400), (json!(77), 404)]
        {
            let answer = sandbox.post(what, &json!({"pid": pid}));
            assert_eq!(answer.status, status, "{what}: {answer:?}");
        }
    }
    for (path, status) in [
        ("0/stdin", 400),
        ("x/stdin", 400),
        ("1048999/stdin", 404),
        ("x/signal", 400),
        ("1048999/signal", 404),
    ] {
        assert_eq!(sandbox.post(path, &json!({"signal": 15})).status, status, "{path}");
    }
    assert_eq!(sandbox.post("run", &json!({"command": ""})).status, 400);
    assert_eq!(sandbox.world.client().get("/api/sandboxes/x/commands/list").status, 404);
    assert_eq!(sandbox.world.status(&sandbox.id), "running", "a refusal is no fault");
}

#[test]
fn output_is_resumed_from_an_offset_and_what_is_lost_is_said() {
    let sandbox = Commands::new();
    let pid = sandbox.run(&json!({"command": "count"}));
    let whole = sandbox.post("attach", &json!({"pid": pid})).text;
    let ids: Vec<u64> =
        whole.lines().filter_map(|line| line.strip_prefix("id:")).map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() > 3);
    let written: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let behind = |id: u64| &written[usize::try_from(id).unwrap()..];
    assert_eq!(stdout(&whole), written);
    let client = sandbox.world.client().with("Last-Event-ID", &ids[0].to_string());
    let by_header = client.post(&sandbox.path("attach"), &json!({"pid": pid})).text;
    assert!(stdout(&by_header) == behind(ids[0]));
    let by_query = client.post(&format!("{}?from={}", sandbox.path("attach"), ids[1]), &json!({"pid": pid}));
    assert!(stdout(&by_query.text) == behind(ids[1]));
    let by_body = client.post(&sandbox.path("attach?from=0"), &json!({"pid": pid, "from": 200_000_000}));
    assert!(by_body.text.starts_with("event:exit\n"), "{}", by_body.text);
    let pid = sandbox.run(&json!({"command": "lost"}));
    let text = sandbox.post("attach", &json!({"pid": pid, "from": 5})).text;
    let expected =
        "event:gap\ndata:{\"from\":5,\"to\":1000}\nid:1000\n\nevent:stdout\ndata:late\ndata:\nid:1005\n\n";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_detached_stream_goes_on_without_its_client() {
    let sandbox = Commands::new();
    let before = descriptors(sandbox.world.pid());
    let client = sandbox.world.client();
    let path = format!("/api/sandboxes/{}/exec-stream", sandbox.id);
    let mut stream = client.connect();
    let body = json!({"command": "hold", "onDisconnect": "detach"}).to_string();
    stream.write_all(&client.text("POST", &path, body.as_bytes())).unwrap();
    let mut seen = [0; 64];
    stream.read_exact(&mut seen).unwrap();
    drop(stream);
    eventually("the stream is closed", || descriptors(sandbox.world.pid()) <= before);
    let pid = sandbox.list()[0];
    assert_eq!(sandbox.post("kill", &json!({"pid": pid})).json["killed"], 1);
    let data = sandbox.world.exec(&sandbox.id, &json!({"command": "hold", "background": true})).json;
    assert_eq!((&data["status"], &data["data"]["command"]), (&json!("success"), &json!("hold")));
    assert_eq!(sandbox.list(), [data["data"]["pid"].as_u64().unwrap()]);
}

#[test]
fn a_command_gets_input_signals_and_its_user() {
    let sandbox = Commands::new();
    let pid = sandbox.run(&json!({"command": "cat", "stdin": true}));
    let client = sandbox.world.client();
    let stdin = sandbox.path(&format!("{pid}/stdin"));
    let first = client.send("POST", &stdin, b"a\xff\n");
    assert_eq!((first.status, first.json), (200, json!({"success": true, "bytes": 3})));
    assert_eq!(client.send("POST", &format!("{stdin}?close=maybe"), b"").status, 400);
    assert_eq!(client.send("POST", &stdin, &vec![b'x'; (1 << 20) + 1]).status, 413);
    assert_eq!(client.send("POST", &format!("{stdin}?close=true"), b"end").json["bytes"], 3);
    assert_eq!(client.send("POST", &stdin, b"late").status, 409);
    let text = sandbox.post("attach", &json!({"pid": pid})).text;
    assert!(text.contains("data:a\u{fffd}\ndata:\n") && text.contains("data:end\n"), "{text}");
    assert_eq!(exit(&text)["exitCode"], 0);

    let pid = sandbox.run(&json!({"command": "hold"}));
    let signal = |body: &Value| sandbox.post(&format!("{pid}/signal"), body).status;
    for bad in [json!({}), json!({"signal": 0}), json!({"signal": 65}), json!({"signal": "KILL; rm"})] {
        assert_eq!(signal(&bad), 400, "{bad}");
    }
    let refused = sandbox.post(&format!("{pid}/signal"), &json!({"signal": UNDELIVERED}));
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(refused.json["error"].as_str().is_some_and(|text| text.contains("refuses")), "{}", refused.text);
    assert_eq!(sandbox.list(), [pid], "the sandbox is not at fault");
    assert_eq!(signal(&json!({"signal": "TERM"})), 200);
    assert_eq!(signal(&json!({"signal": 15})), 409);
    assert_eq!(
        sandbox.post("wait", &json!({"pid": pid})).json["end"],
        json!({"kind": "signaled", "signal": 15})
    );

    let pid =
        sandbox.run(&json!({"command": "show", "user": "nobody:65534", "timeout": 901, "env": {"A": "b"}}));
    let text = sandbox.post("attach", &json!({"pid": pid})).text;
    for part in [r#""user":"nobody:65534""#, r#""timeout_ms":900000"#, r#""hold":"detached""#, r#"["A","b"]"#]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}

#[test]
fn a_request_with_a_key_runs_once() {
    let sandbox = Commands::new();
    let client = sandbox.world.client().with("Idempotency-Key", "k-1");
    let run = |body: &Value| client.post(&sandbox.path("run"), body);
    let first = run(&json!({"command": "hold"}));
    assert_eq!(first.status, 200, "{first:?}");
    let again = run(&json!({"timeout": null, "command": "hold"}));
    assert_eq!(again.json["pid"], first.json["pid"], "the same in other words");
    let other = run(&json!({"command": "cat"}));
    assert_eq!((other.status, other.error().starts_with("Idempotency-Key: ")), (409, true), "{other:?}");
    assert_eq!(sandbox.list().len(), 1);
    for key in ["", "a b", &"x".repeat(256), "caf\u{e9}"] {
        let answer = sandbox.world.client().with("Idempotency-Key", key);
        let answer = answer.post(&sandbox.path("run"), &json!({"command": "hold"}));
        assert_eq!(answer.status, 400, "{key:?}: {answer:?}");
    }
    let path = format!("/api/sandboxes/{}/exec", sandbox.id);
    let shown = client.post(&path, &json!({"command": "show"}));
    let spec: Value = serde_json::from_str(shown.json["data"]["stdout"].as_str().unwrap()).unwrap();
    assert_eq!((spec["key"]["key"].as_str().unwrap().len(), &spec["hold"]), (43, &json!("attached")));
}

#[test]
fn a_command_of_a_dead_sandbox_is_gone() {
    let sandbox = Commands::new();
    let pid = sandbox.run(&json!({"command": "hold"}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sandbox.post("wait", &json!({"pid": pid})));
        eventually("the wait has begun", || sandbox.world.scrape().contains("bulkhead_gateway_streams 1"));
        sandbox.world.runtime.kill(&sandbox.id);
        let waited = waiting.join().unwrap();
        assert_eq!((waited.status, &waited.json["success"]), (200, &json!(false)), "{waited:?}");
        assert_eq!((&waited.json["exitCode"], &waited.json["end"]["kind"]), (&json!(137), &json!("gone")));
    });
    for what in ["wait", "attach", "kill"] {
        assert_eq!(sandbox.post(what, &json!({"pid": pid})).status, 409, "{what}");
    }
    assert_eq!(sandbox.world.client().get(&sandbox.path("list")).status, 409);
}
