//! Trees that fork, `setsid` and double-fork, ended in every way: an outside walk of `/proc` finds nobody.

use bulkhead_tests::{Sandbox, Server, eventually};
use serde_json::json;
use std::time::Duration;

/// Trees that one run ends; the long form is the bar of the step.
fn rounds() -> usize {
    if std::env::var_os("BULKHEAD_TEST_LONG").is_some() { 1000 } else { 100 }
}

/// Five processes: the shell, a child, one in a session of its own, and two of a double fork.
fn tree(marker: &str) -> String {
    format!(
        "trap '' TERM INT HUP; sleep {marker} & setsid sleep {marker} & (setsid bash -c '(sleep {marker} &); sleep {marker}' &); \
         echo up; sleep {marker}"
    )
}

fn end_one(sandbox: &Sandbox<'_>, n: usize) {
    let script = tree("88880");
    match n % 4 {
        0 => {
            let pid = sandbox.run(&script);
            if n.is_multiple_of(8) {
                let _first = sandbox.attach(pid, "").within(Duration::from_secs(20));
            }
            let _killed = sandbox.kill(pid);
        }
        1 => {
            let run = sandbox.exec_with(&script, json!({"timeout": 1}));
            assert_eq!(run.kind, "timeout", "{}", run.data);
        }
        2 => {
            let mut events = sandbox.stream_with("", &script, json!({"timeout": 200}));
            if n % 8 == 2 {
                let _first = events.within(Duration::from_secs(20));
            }
            events.answer.cut();
        }
        _ => {
            let pid = sandbox.run_with(&script, json!({"timeout": 1}));
            assert_eq!(sandbox.wait(pid), 124);
        }
    }
}

/// Zombies whose parent is the agent or the init of the sandbox.
fn zombies(sandbox: &Sandbox<'_>) -> Vec<String> {
    let all = bulkhead_tests::host::processes();
    let dead = all.into_iter().filter(|p| p.state == 'Z' && p.cgroup.contains(sandbox.id()));
    dead.map(|p| format!("{} child of {}", p.pid, p.parent)).collect()
}

#[test]
fn no_tree_survives_its_end() {
    let server = Server::start();
    let sandbox = server.create();
    let _warm = sandbox.exec("true");
    let at_rest = sandbox.processes().len();
    let rounds = rounds();
    std::thread::scope(|scope| {
        for client in 0..8 {
            let sandbox = &sandbox;
            scope.spawn(move || (client..rounds).step_by(8).for_each(|n| end_one(sandbox, n / 8 + client)));
        }
    });
    crate::assert_gone(&sandbox, "88880");
    eventually("the sandbox is at rest, without a zombie", || {
        let (now, dead) = (sandbox.processes(), zombies(&sandbox));
        if now.len() <= at_rest && dead.is_empty() {
            Ok(())
        } else {
            Err(format!("{now:?}, zombies {dead:?}"))
        }
    });
    assert_eq!(sandbox.running().len(), 0);
}

#[test]
fn a_deleted_sandbox_takes_its_commands_along() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run(&tree("88881"));
    let mut events = sandbox.attach(pid, "");
    assert_eq!(events.within(Duration::from_secs(10)).data, "up\n");
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    sandbox.delete();
    crate::assert_gone(&sandbox, "88881");
    let exit = events.within(Duration::from_secs(10));
    assert_eq!(exit.name, "exit", "even then a stream has its end: {exit:?}");
    let end = terminal.end(Duration::from_secs(10));
    assert!(matches!(end, bulkhead_tests::websocket::Message::Close(..)), "{end:?}");
}
