//! Group H: clients of streams and terminals that come and go, or type without reading.

use crate::base::Base;
use bulkhead_tests::websocket::{Message, opcode};
use bulkhead_tests::{Sandbox, Server, Terminal, eventually, within};
use serde_json::json;
use std::time::{Duration, Instant};

/// What the gateway and an agent may grow by, in KiB.
const GROWTH: u64 = 32 << 10;
/// A client that has said nothing for 60 s is dropped; the rest is room for a busy machine.
const SILENCE: Duration = Duration::from_secs(80);
/// Bytes that are typed without a look at the terminal.
const TYPED: usize = 100 << 20;

fn assert_gone(sandbox: &Sandbox<'_>, marker: &str) {
    eventually("every command of a client who left is gone", || {
        let left: Vec<_> = sandbox.processes().into_iter().filter(|p| p.command.contains(marker)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{} of {marker}", left.len())) }
    });
}

#[test]
fn h07_clients_who_come_and_go_leave_nothing() {
    let server = Server::start();
    let base = Base::of(&server);
    let sandbox = server.create();
    let _warm = sandbox.exec("true").ok();
    let agent = || bulkhead_tests::residue::descriptors(sandbox.agent().pid).values().sum::<usize>();
    let before = agent();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for worker in 0..4_u64 {
            let sandbox = &sandbox;
            scope.spawn(move || {
                for n in 0..100_u64 {
                    let body = json!({"command": "echo x; sleep 71807"});
                    let mut answer = sandbox.open("/exec-stream", &[], &body);
                    if answer.status == 200 && n % 2 == 0 {
                        let _some = answer.read();
                    }
                    std::thread::sleep(Duration::from_millis((n + worker) % 5));
                    answer.cut();
                }
            });
        }
    });
    println!("400 streams in {:?}", start.elapsed());
    assert_gone(&sandbox, "sleep 71807");
    for n in 0..100 {
        let path = sandbox.path("/pty");
        let mut terminal = Terminal::open(sandbox.client(), &path, "");
        if n % 2 == 0 {
            terminal.send("sleep 71808\n");
        }
    }
    assert_gone(&sandbox, "sleep 71808");
    assert_gone(&sandbox, "bash");
    eventually("the agent has the descriptors it had", || {
        let now = agent();
        if now <= before { Ok(()) } else { Err(format!("{now}, {before} before")) }
    });
    assert_eq!(sandbox.exec("echo well").stdout, "well\n");
    sandbox.delete();
    base.assert_grown_at_most(GROWTH);
    base.assert_back();
}

#[test]
fn h11_sizes_are_bounded_and_resizing_all_the_time_hurts_nobody() {
    let server = Server::start();
    let base = Base::of(&server);
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let resize = format!("/pty/sessions/{session}/resize");
    for (cols, rows) in
        [(0, 24), (80, 0), (65_535, 65_535), (-1, -1), (i64::MAX, i64::MIN), (501, 200), (500, 201)]
    {
        let size = json!({"cols": cols, "rows": rows});
        let message = sandbox.post(&resize, &size).error(400);
        assert!(message.contains("cols") || message.contains("rows"), "{size}: {message}");
        let _message = sandbox.post("/pty/sessions", &size).error(400);
    }
    for n in 0..1000 {
        let _done = sandbox.post(&resize, &json!({"cols": 1 + n % 500, "rows": 1 + n % 200})).expect(200);
    }
    let _done = sandbox.post(&resize, &json!({"cols": 91, "rows": 37})).expect(200);
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let size = terminal.command("stty size");
    assert!(size.contains("37 91"), "the last size counts: {size:?}");
    drop(terminal);
    sandbox.delete();
    base.assert_back();
}

#[test]
fn h11_who_types_without_end_is_held_up() {
    let server = Server::start();
    let base = Base::of(&server);
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    terminal.send("stty raw -echo; sleep 71811\n");
    eventually("the program runs", || {
        let there = sandbox.processes().iter().any(|p| p.command.contains("sleep 71811"));
        if there { Ok(()) } else { Err(terminal.text()) }
    });
    let before = sandbox.agent().resident_kib();
    let piece = vec![b'x'; 32 << 10];
    let mut sent = 0;
    while sent < TYPED {
        let start = Instant::now();
        terminal.socket.message(opcode::BINARY, &piece);
        sent += piece.len();
        if start.elapsed() > Duration::from_secs(2) {
            break;
        }
    }
    println!("{sent} bytes of {TYPED} were taken from the client");
    base.assert_grown_at_most(GROWTH);
    let after = sandbox.agent().resident_kib();
    assert!(after < before + GROWTH, "the agent: {after} KiB, {before} before");
    let end = terminal.socket.receive(Duration::from_millis(100));
    assert!(
        sent < TYPED || matches!(end, Some(Message::Close(..) | Message::Gone)),
        "all was taken: {end:?}"
    );
    drop(terminal);
    // Its end lies behind input that nobody reads: the next ping that cannot be sent, or has no answer, shows it.
    within(SILENCE, "the terminal of a client who left ends", || {
        let there = sandbox.processes().iter().any(|p| p.command.contains("sleep 71811"));
        if there { Err("it runs".to_owned()) } else { Ok(()) }
    });
    sandbox.delete();
    base.assert_back();
}
