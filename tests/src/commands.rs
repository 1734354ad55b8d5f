//! Streams, background commands and terminals of a sandbox, with the names of the contract.

use crate::client::Answer;
use crate::sandbox::Sandbox;
use crate::sse::Events;
use crate::streaming::Streaming;
use crate::terminal::Terminal;
use serde_json::{Value, json};
use std::time::Duration;

impl Sandbox<'_> {
    /// `POST /sandboxes/{id}<rest>` with a JSON body.
    #[must_use]
    pub fn post(&self, rest: &str, body: &Value) -> Answer {
        self.client().post(&self.path(rest), body)
    }

    /// `GET /sandboxes/{id}<rest>`.
    #[must_use]
    pub fn get(&self, rest: &str) -> Answer {
        self.client().get(&self.path(rest))
    }

    /// Any answer that is read while it comes.
    #[must_use]
    pub fn open(&self, rest: &str, headers: &[(&str, &str)], body: &Value) -> Streaming {
        Streaming::post(self.client(), &self.path(rest), headers, body)
    }

    /// [`Self::open`] for a head that takes so long.
    #[must_use]
    pub fn open_within(&self, time: Duration, rest: &str, body: &Value) -> Streaming {
        let headers = [("Content-Type", "application/json")];
        let path = self.path(rest);
        Streaming::post_bytes_within(time, self.client(), &path, &headers, body.to_string().as_bytes())
    }

    /// `POST …/exec-stream` of a script.
    #[must_use]
    pub fn stream(&self, script: &str) -> Events {
        self.stream_with("", script, json!({}))
    }

    /// [`Self::stream`] with a query (`?…`) and more fields.
    ///
    /// # Panics
    /// When `more` is no object or the answer no stream.
    #[must_use]
    pub fn stream_with(&self, query: &str, script: &str, more: Value) -> Events {
        let Value::Object(mut body) = more else { panic!("{more} is no object") };
        body.insert("command".to_owned(), Value::from(script));
        Events::of(self.open(&format!("/exec-stream{query}"), &[], &Value::Object(body)))
    }

    /// `POST …/commands/run` of a script; its handle.
    #[must_use]
    pub fn run(&self, script: &str) -> u64 {
        self.run_with(script, json!({}))
    }

    /// [`Self::run`] with more fields; the shape of the answer is checked.
    ///
    /// # Panics
    /// When it is another one.
    #[must_use]
    pub fn run_with(&self, script: &str, more: Value) -> u64 {
        let Value::Object(mut body) = more else { panic!("{more} is no object") };
        body.insert("command".to_owned(), Value::from(script));
        let answer = self.post("/commands/run", &Value::Object(body)).expect(200).json();
        assert_eq!((&answer["success"], &answer["command"]), (&json!(true), &json!(script)), "{answer}");
        let pid = answer["pid"].as_u64().unwrap_or_else(|| panic!("pid in {answer}"));
        assert!(pid > 0 && pid < 1 << 53, "{answer}");
        pid
    }

    /// Rows of `GET …/commands/list`.
    ///
    /// # Panics
    /// When the answer is of another shape.
    #[must_use]
    pub fn running(&self) -> Vec<Value> {
        let answer = self.get("/commands/list").expect(200).json();
        assert_eq!(answer["success"], true, "{answer}");
        answer["processes"].as_array().unwrap_or_else(|| panic!("processes in {answer}")).clone()
    }

    /// Whether the list shows this handle.
    #[must_use]
    pub fn lists(&self, pid: u64) -> bool {
        self.running().iter().any(|row| row["pid"] == pid)
    }

    /// `POST …/commands/wait`; the exit code.
    ///
    /// # Panics
    /// When the answer is of another shape.
    #[must_use]
    pub fn wait(&self, pid: u64) -> i64 {
        let answer = self.post("/commands/wait", &json!({"pid": pid})).expect(200).json();
        assert_eq!(answer["success"], true, "{answer}");
        answer["exitCode"].as_i64().unwrap_or_else(|| panic!("exitCode in {answer}"))
    }

    /// `POST …/commands/kill`; how many processes the receipt says were ended.
    ///
    /// # Panics
    /// When the answer is no receipt.
    pub fn kill(&self, pid: u64) -> u64 {
        let answer = self.post("/commands/kill", &json!({"pid": pid})).expect(200).json();
        assert_eq!(
            (&answer["success"], &answer["confirmed"]),
            (&json!(true), &json!("cgroup-empty")),
            "{answer}"
        );
        assert!(answer["message"].is_string(), "{answer}");
        answer["killed"].as_u64().unwrap_or_else(|| panic!("killed in {answer}"))
    }

    /// `POST …/commands/attach`, with a query (`?…`).
    #[must_use]
    pub fn attach(&self, pid: u64, query: &str) -> Events {
        Events::of(self.open(&format!("/commands/attach{query}"), &[], &json!({"pid": pid})))
    }

    /// `POST …/pty/sessions`; its id.
    ///
    /// # Panics
    /// When the answer is of another shape.
    #[must_use]
    pub fn session(&self, body: &Value) -> String {
        let data = self.post("/pty/sessions", body).expect(200).data();
        assert!(data["createdAt"].is_string(), "{data}");
        data["sessionId"].as_str().unwrap_or_else(|| panic!("sessionId in {data}")).to_owned()
    }

    /// Rows of `GET …/pty/sessions`.
    ///
    /// # Panics
    /// When the answer is of another shape.
    #[must_use]
    pub fn sessions(&self) -> Vec<Value> {
        let data = self.get("/pty/sessions").expect(200).data();
        data["sessions"].as_array().unwrap_or_else(|| panic!("sessions in {data}")).clone()
    }

    /// A WebSocket to a session, with more of a query (`&…`).
    ///
    /// # Panics
    /// When the upgrade is refused.
    #[must_use]
    pub fn terminal(&self, session: &str, query: &str) -> Terminal {
        Terminal::open(self.client(), &self.path(&format!("/pty/sessions/{session}")), query)
    }

    /// A WebSocket to a shell of its own.
    ///
    /// # Panics
    /// When the upgrade is refused.
    #[must_use]
    pub fn ephemeral(&self) -> Terminal {
        Terminal::open(self.client(), &self.path("/pty"), "")
    }
}
