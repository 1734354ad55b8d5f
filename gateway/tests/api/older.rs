//! All that a tenant does, with an agent of the release before: what a real one said, played back (`recorded.rs`).

use crate::client::Answer;
use crate::pty_socket::Socket;
use crate::recorded::Recorded;
use crate::streams::exit;
use crate::world::{World, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A directory that a recording makes and removes.
const PLACE: &str = "/tmp/bulkhead-recording";

struct Older {
    world: World,
    id: String,
}

impl Older {
    fn path(&self, rest: &str) -> String {
        format!("/api/sandboxes/{}/{rest}", self.id)
    }

    fn post(&self, rest: &str, body: &Value) -> Answer {
        let answer = self.world.client().post(&self.path(rest), body);
        assert_eq!(answer.status, 200, "{rest} {body}: {answer:?}");
        answer
    }

    fn send(&self, method: &str, rest: &str, body: &[u8]) -> Answer {
        let answer = self.world.client().send(method, &self.path(rest), body);
        assert_eq!(answer.status, 200, "{rest}: {answer:?}");
        answer
    }

    fn exec(&self, body: &Value) -> Value {
        self.post("exec", body).json["data"].clone()
    }

    fn begin(&self, body: &Value) -> u64 {
        self.post("commands/run", body).json["pid"].as_u64().unwrap()
    }

    fn runs(&self) -> Vec<u64> {
        let list = self.send("GET", "commands/list", b"").json;
        list["processes"].as_array().unwrap().iter().map(|row| row["pid"].as_u64().unwrap()).collect()
    }

    fn commands_run_to_their_end(&self) {
        let data = self.exec(&json!({"command": "echo $A; echo err >&2; exit 3", "env": {"A": "out"}}));
        assert_eq!(
            (&data["stdout"], &data["stderr"], &data["exitCode"]),
            (&json!("out\n"), &json!("err\n"), &json!(3))
        );
        let data = self.exec(&json!({"command": "sleep 30", "timeout": 1}));
        assert_eq!((&data["exitCode"], &data["end"]["kind"]), (&json!(124), &json!("timeout")), "{data}");
        let data = self.exec(&json!({"command": "kill -SEGV $$", "cwd": "/"}));
        assert_eq!(data["exitCode"], 139, "{data}");
        let refused = self.world.exec(&self.id, &json!({"command": "true", "cwd": "/nowhere"}));
        assert_eq!((refused.status, refused.error()), (400, "cwd: there is no such directory"));
        let events = self.post("exec-stream", &json!({"command": "seq 3; exit 4"})).text;
        assert!(events.contains("event:stdout\ndata:1\n"), "{events}");
        assert_eq!(exit(&events)["exitCode"], 4);
    }

    fn commands_go_on_by_themselves(&self) {
        let pid = self.begin(&json!({"command": "cat", "stdin": true}));
        assert_eq!(self.runs(), [pid]);
        assert_eq!(
            self.send("POST", &format!("commands/{pid}/stdin?close=true"), b"typed\n").json["bytes"],
            6
        );
        assert_eq!(self.post("commands/wait", &json!({"pid": pid})).json["exitCode"], 0);
        let text = self.post("commands/attach", &json!({"pid": pid})).text;
        assert!(text.contains("data:typed\n"), "{text}");
        assert_eq!(exit(&text)["exitCode"], 0);
        let pid = self.begin(&json!({"command": "exec sleep 100"}));
        self.post(&format!("commands/{pid}/signal"), &json!({"signal": 15}));
        assert_eq!(self.post("commands/wait", &json!({"pid": pid})).json["exitCode"], 143);
    }

    fn files_come_and_go(&self) {
        let at = |rest: &str| format!("files{rest}");
        self.send("POST", &at(&format!("/mkdir?path={PLACE}")), b"");
        self.send("POST", &at(&format!("/upload?path={PLACE}/a")), b"content of a file\n");
        self.send("POST", &at(&format!("/copy?from={PLACE}/a&to={PLACE}/b")), b"");
        let list = self.send("GET", &at(&format!("?path={PLACE}")), b"").text;
        assert!(list.contains("\"a\"") && list.contains("\"b\""), "{list}");
        assert_eq!(
            self.send("GET", &at(&format!("/download?path={PLACE}/b")), b"").text,
            "content of a file\n"
        );
        let missing = self.world.client().get(&self.path(&at(&format!("/download?path={PLACE}/c"))));
        assert_eq!(missing.status, 404, "{missing:?}");
        self.exec(&json!({"command": format!("rm -r {PLACE}")}));
    }

    fn terminals_answer(&self) {
        let session = self.send("POST", "pty/sessions", b"").json["data"]["sessionId"].clone();
        let session = format!("pty/sessions/{}", session.as_str().unwrap());
        let mut socket = Socket::open(&self.world.client(), &self.path(&session)).ok().unwrap();
        socket.until("# ");
        socket.type_text("echo $((6*7))\n");
        assert!(socket.until("# ").contains("42\r\n"));
        self.post(&format!("{session}/resize"), &json!({"cols": 100, "rows": 40}));
        socket.type_text("stty size\n");
        assert!(socket.until("# ").contains("40 100\r\n"));
        drop(socket);
        self.send("DELETE", &session, b"");
    }
}

#[test]
fn a_real_agent_of_the_release_before_serves_everything_also_a_new_gateway() {
    let world = World::new();
    let id = world.sandbox("recorded");
    let mut older = Older { world, id };
    older.commands_run_to_their_end();
    older.commands_go_on_by_themselves();
    older.files_come_and_go();
    older.terminals_answer();
    let pid = older.begin(&json!({"command": "exec sleep 100"}));
    older.world.stop(Signal::SIGTERM);
    older.world.start();
    assert_eq!(older.runs(), [pid], "what ran goes on");
    assert_eq!(older.post("commands/kill", &json!({"pid": pid})).json["killed"], 1);
    let Older { world, id } = older;
    assert_eq!(world.client().delete(&format!("/api/sandboxes/{id}")).status, 200);
    eventually("it is gone", || world.runtime.ids().is_empty());
    world.runtime.recorded().get_or_init(Recorded::default).finish();
}
