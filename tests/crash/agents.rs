//! The agent or the reaper of one sandbox is killed: that sandbox is `killed`, and nothing else happens.

use bulkhead_tests::host::{self, Process};
use bulkhead_tests::{Sandbox, Server, eventually};
use serde_json::json;

fn assert_killed(sandbox: &Sandbox<'_>) {
    eventually("the sandbox is killed", || {
        let status = sandbox.object()["status"].clone();
        if status == "killed" { Ok(()) } else { Err(status.to_string()) }
    });
    eventually("nothing of it runs", || {
        let left = sandbox.processes();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    let answer = sandbox.post_exec(&json!({"command": "true"}));
    let _message = answer.error(answer.status);
    assert!(matches!(answer.status, 409 | 500 | 502 | 503), "{}", answer.text());
}

fn kill_and_delete(choose: impl Fn(&Sandbox<'_>) -> Process) {
    let server = Server::start();
    let (sandbox, other) = (server.create(), server.create());
    let _run = sandbox.exec("(setsid sleep 600 >/dev/null 2>&1 &); true").ok();
    host::kill9(choose(&sandbox).pid);
    assert_killed(&sandbox);
    assert_eq!(other.exec("echo unharmed").stdout, "unharmed\n");
    let listed = server.client().get("/sandboxes").expect(200).data();
    assert_eq!(listed.as_array().map(Vec::len), Some(1), "the list hides what was killed: {listed}");
    sandbox.delete();
    other.delete();
    server.assert_no_sandbox_left();
}

#[test]
fn an_agent_is_killed() {
    kill_and_delete(|sandbox| sandbox.agent());
}

#[test]
fn a_reaper_is_killed() {
    kill_and_delete(|sandbox| {
        let agent = sandbox.agent().pid;
        let inside = sandbox.processes();
        let children: Vec<_> = inside.into_iter().filter(|p| p.parent == agent).collect();
        // The oldest child of the agent is the first process of the inner namespace.
        children.into_iter().min_by_key(|p| p.pid).expect("the agent has a child")
    });
}

#[test]
fn an_agent_is_killed_under_a_command() {
    let server = Server::start();
    let sandbox = server.create();
    std::thread::scope(|scope| {
        let command =
            scope.spawn(|| sandbox.post_exec(&json!({"command": "echo begun; touch /tmp/begun; sleep 100"})));
        eventually("the command runs", || {
            if sandbox.exec("test -e /tmp/begun").code == 0 { Ok(()) } else { Err("not yet".to_owned()) }
        });
        host::kill9(sandbox.agent().pid);
        let answer = command.join().expect("an answer comes");
        if answer.status == 200 {
            assert_eq!(answer.data()["end"]["kind"], "gone", "no end is invented: {}", answer.text());
        } else {
            let _message = answer.error(answer.status);
        }
    });
    assert_killed(&sandbox);
}

#[test]
fn a_stopped_agent_does_not_stop_a_delete() {
    let server = Server::start();
    let (sandbox, other) = (server.create(), server.create());
    host::signal(sandbox.agent().pid, nix::sys::signal::Signal::SIGSTOP);
    let start = std::time::Instant::now();
    sandbox.delete();
    assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(other.exec("echo unharmed").stdout, "unharmed\n");
}
