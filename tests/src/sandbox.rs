//! One sandbox, for tests that read like what they do.

use crate::client::{Answer, Client};
use crate::host::{Process, processes};
use crate::server::Server;
use serde_json::{Map, Value, json};

/// A sandbox that a test made. It is not deleted on drop: the server's leak check deletes what is left.
#[derive(Debug, Clone)]
pub struct Sandbox<'a> {
    server: &'a Server,
    id: String,
}

/// What a command left behind: `data` of the answer to `exec`, unpacked.
#[derive(Debug, Clone)]
pub struct Run {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// `exitCode`.
    pub code: i64,
    /// `end.kind`.
    pub kind: String,
    /// All of `data`.
    pub data: Value,
}

impl<'a> Sandbox<'a> {
    /// The sandbox of this id, whoever made it.
    #[must_use]
    pub fn of(server: &'a Server, id: &str) -> Self {
        Self { server, id: id.to_owned() }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The client that made it.
    #[must_use]
    pub fn client(&self) -> &'a Client {
        self.server.client()
    }

    /// `/sandboxes/{id}` and what follows.
    #[must_use]
    pub fn path(&self, rest: &str) -> String {
        format!("/sandboxes/{}{rest}", self.id)
    }

    /// `POST …/exec` with this body.
    #[must_use]
    pub fn post_exec(&self, body: &Value) -> Answer {
        self.server.client().post(&format!("/sandboxes/{}/exec", self.id), body)
    }

    /// Runs a shell script.
    #[must_use]
    pub fn exec(&self, script: &str) -> Run {
        self.exec_with(script, json!({}))
    }

    /// Runs a shell script with more fields of the request.
    ///
    /// # Panics
    /// When `more` is no object or the answer is not a success.
    #[must_use]
    pub fn exec_with(&self, script: &str, more: Value) -> Run {
        let Value::Object(mut body) = more else { panic!("{more} is no object") };
        body.insert("command".to_owned(), Value::from(script));
        Run::from_data(self.post_exec(&Value::Object(body)).expect(200).data())
    }

    /// Runs a Python program with the sandbox's `python3` and gives back what it printed as JSON.
    ///
    /// # Panics
    /// When it does not end well or prints something else.
    #[must_use]
    pub fn python(&self, program: &str) -> Value {
        self.exec(&format!("python3 - <<'END_OF_PROGRAM'\n{program}\nEND_OF_PROGRAM")).ok().json()
    }

    /// The sandbox object as `GET` answers it.
    ///
    /// # Panics
    /// When the answer is not a success.
    #[must_use]
    pub fn object(&self) -> Map<String, Value> {
        let answer = self.server.client().get(&format!("/sandboxes/{}", self.id)).expect(200);
        answer.data().as_object().expect("a sandbox is an object").clone()
    }

    /// Deletes it and checks the answer of the contract.
    ///
    /// # Panics
    /// When the answer is not 200 without data.
    pub fn delete(&self) {
        let answer = self.server.client().delete(&format!("/sandboxes/{}", self.id)).expect(200);
        assert!(answer.data().is_null(), "{}", answer.text());
    }

    /// Every process of the host that runs in it.
    #[must_use]
    pub fn processes(&self) -> Vec<Process> {
        let mut all = processes();
        all.retain(|process| process.cgroup.contains(self.id()) && process.state != 'Z');
        all
    }

    /// Its agent, seen from the host.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn agent(&self) -> Process {
        let inside = self.processes();
        let outermost = |p: &&Process| !inside.iter().any(|other| other.pid == p.parent);
        let agent = inside.iter().find(outermost);
        agent.unwrap_or_else(|| panic!("no agent of {} among {inside:?}", self.id)).clone()
    }
}

impl Run {
    /// Unpacks `data`, whose shape is checked.
    ///
    /// # Panics
    /// When a field of the contract is missing or of another type.
    #[must_use]
    pub fn from_data(data: Value) -> Self {
        let text = |name: &str| data[name].as_str().unwrap_or_else(|| panic!("{name} in {data}")).to_owned();
        Self {
            stdout: text("stdout"),
            stderr: text("stderr"),
            code: data["exitCode"].as_i64().unwrap_or_else(|| panic!("exitCode in {data}")),
            kind: data["end"]["kind"].as_str().unwrap_or_else(|| panic!("end.kind in {data}")).to_owned(),
            data,
        }
    }

    /// Checks that the command ended with 0.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!((self.code, self.kind.as_str()), (0, "exited"), "{}", shortened(&self.data));
        self
    }

    /// Standard output as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("{e} in {}", shortened(&self.data)))
    }

    /// Standard output without the white space around it.
    #[must_use]
    pub fn line(&self) -> &str {
        self.stdout.trim()
    }
}

fn shortened(data: &Value) -> String {
    let text = data.to_string();
    text.chars().take(4000).collect()
}
