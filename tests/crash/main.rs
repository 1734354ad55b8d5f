//! `kill -9` of every part, with sandboxes running: what was acknowledged stays, what is deleted leaves nothing.

mod agents;
mod askers;
mod commands;
mod exhausted;
mod failpoints;
mod gateway;
mod kept;
mod records;
mod releases;
mod restarts;
mod stops;
mod storm;
mod strays;

use bulkhead_tests::{Sandbox, Server, eventually};
use serde_json::json;

/// Sandboxes that a crash must not lose.
const CROWD: usize = 20;

/// Twenty sandboxes, each with a file of its own and a process that was left running.
fn crowd(server: &Server) -> Vec<Sandbox<'_>> {
    let sandboxes: Vec<_> = (0..CROWD)
        .map(|n| server.create_with(json!({"name": format!("crowd-{n}"), "labels": {"n": n.to_string()}})))
        .collect();
    for (n, sandbox) in sandboxes.iter().enumerate() {
        let script = format!("echo {n} > /root/mine; (setsid sleep 600 >/dev/null 2>&1 &); echo ready");
        assert_eq!(sandbox.exec(&script).ok().stdout, "ready\n");
    }
    sandboxes
}

/// Each answers `exec` again, with its file, its process and its row.
fn assert_all_there(ids: &[String], server: &Server) {
    for (n, id) in ids.iter().enumerate() {
        let sandbox = Sandbox::of(server, id);
        let stdout = eventually(&format!("sandbox {n} answers"), || {
            let answer = sandbox.post_exec(&json!({"command": "cat /root/mine; pgrep -c sleep"}));
            if answer.status == 200 { Ok(answer.data()["stdout"].clone()) } else { Err(answer.text()) }
        });
        assert_eq!(stdout, format!("{n}\n1\n"));
        let object = sandbox.object();
        assert_eq!((&object["status"], &object["labels"]["n"]), (&json!("running"), &json!(n.to_string())));
    }
    let total = server.client().get("/sandboxes?limit=100").expect(200).json()["meta"]["total"].clone();
    assert_eq!(total, ids.len());
}

fn ids(sandboxes: &[Sandbox<'_>]) -> Vec<String> {
    sandboxes.iter().map(|sandbox| sandbox.id().to_owned()).collect()
}

fn delete_all(ids: &[String], server: &Server) {
    for id in ids {
        Sandbox::of(server, id).delete();
    }
    server.assert_no_sandbox_left();
}
