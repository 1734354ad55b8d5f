//! How terminals end, from either side.

use bulkhead_tests::websocket::Message;
use bulkhead_tests::{Server, eventually};
use serde_json::json;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn the_shells_exit_closes_with_1000() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let second = sandbox.terminal(&session, "");
    for mut terminal in [sandbox.terminal(&session, ""), sandbox.ephemeral()] {
        let _prompt = terminal.prompt();
        terminal.send("echo last words; exit 3\n");
        let text = terminal.until(0, "the last words", |text| text.contains("\nlast words\r\n"));
        let end = terminal.end(SOON);
        assert!(matches!(end, Message::Close(1000, _)), "{end:?} after {text:?}");
        assert_eq!(terminal.socket.receive(SOON), Some(Message::Gone), "nothing comes after a close");
    }
    let mut second = second;
    let end = second.end(SOON);
    assert!(matches!(end, Message::Close(1000, _)), "the other client: {end:?}");
}

#[test]
fn a_close_is_answered() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    for code in [Some(1000_u16), None] {
        let mut terminal = sandbox.terminal(&session, "");
        let _prompt = terminal.prompt();
        match code {
            Some(code) => terminal.socket.close(code),
            None => terminal.socket.frame(0x88, &[]),
        }
        let start = Instant::now();
        let end = terminal.end(SOON);
        assert!(matches!(end, Message::Close(1000 | 1005, _)), "{end:?}");
        assert_eq!(terminal.socket.receive(SOON), Some(Message::Gone));
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        crate::wait_for_clients(&sandbox, &session, 0);
    }
    assert_eq!(sandbox.sessions().len(), 1, "a session outlives its clients");
}

#[test]
fn an_ephemeral_terminal_dies_with_its_connection() {
    let server = Server::start();
    let sandbox = server.create();
    let _warm = sandbox.exec("true");
    let at_rest = sandbox.processes().len();
    for polite in [true, false] {
        let mut terminal = sandbox.ephemeral();
        let _prompt = terminal.prompt();
        terminal.send(
            "trap '' HUP TERM; (setsid sleep 50505 &); nohup sleep 50505 >/dev/null 2>&1 & sleep 50505\n",
        );
        eventually("three sleeps", || {
            let many = sandbox.processes().iter().filter(|p| p.command.contains("sleep 50505")).count();
            if many >= 3 { Ok(()) } else { Err(many.to_string()) }
        });
        assert_eq!(sandbox.sessions().len(), 0, "it is no session");
        if polite {
            terminal.socket.close(1000);
        }
        drop(terminal);
        crate::assert_gone(&sandbox, "50505");
        eventually("the shell is gone too", || {
            let now = sandbox.processes();
            if now.len() <= at_rest { Ok(()) } else { Err(format!("{now:?}")) }
        });
    }
}

#[test]
fn a_deleted_session_is_closed() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminals = [sandbox.terminal(&session, ""), sandbox.terminal(&session, "")];
    let _prompts = terminals.each_mut().map(bulkhead_tests::Terminal::prompt);
    terminals[0].send("trap '' HUP TERM; (setsid sleep 51515 &); sleep 51515\n");
    eventually("two sleeps", || {
        let many = sandbox.processes().iter().filter(|p| p.command.contains("sleep 51515")).count();
        if many >= 2 { Ok(()) } else { Err(many.to_string()) }
    });
    let path = sandbox.path(&format!("/pty/sessions/{session}"));
    assert!(server.client().delete(&path).data().is_null());
    for terminal in &mut terminals {
        let end = terminal.end(SOON);
        assert!(matches!(end, Message::Close(1000 | 1001, _)), "{end:?}");
    }
    let left: Vec<_> = sandbox.processes().into_iter().filter(|p| p.command.contains("51515")).collect();
    assert!(left.is_empty(), "alive after the answer: {left:?}");
    assert_eq!(sandbox.sessions().len(), 0);
}

#[test]
fn clients_that_come_and_go_leave_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let _warm = sandbox.exec("true");
    let at_rest = sandbox.processes().len();
    let gateway = server.half("gateway");
    let sockets = || bulkhead_tests::residue::descriptors(gateway.pid).get("socket").copied().unwrap_or(0);
    let before = sockets();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..20 {
                    let mut terminal = sandbox.ephemeral();
                    if round % 2 == 0 {
                        let _prompt = terminal.prompt();
                        terminal.send("(setsid sleep 52525 &)\nyes\n");
                    }
                }
            });
        }
    });
    crate::assert_gone(&sandbox, "52525");
    eventually("processes and sockets are those of before", || {
        let (inside, now) = (sandbox.processes(), sockets());
        if inside.len() <= at_rest && now <= before {
            Ok(())
        } else {
            Err(format!("{now} sockets, {inside:?}"))
        }
    });
}

#[test]
fn an_end_that_comes_late_is_still_told() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let _answer =
        sandbox.post(&format!("/pty/sessions/{session}/execute"), &json!({"command": "exit"})).expect(200);
    eventually("the shell has ended", || {
        let alive = sandbox.sessions().iter().any(|row| row["alive"] == true);
        if alive { Err(String::new()) } else { Ok(()) }
    });
    let target =
        format!("/api{}?apiKey={}", sandbox.path(&format!("/pty/sessions/{session}")), server.client().key());
    match bulkhead_tests::websocket::WebSocket::connect(server.address(), &target, &[]) {
        Ok(mut socket) => {
            let end = socket.end(SOON);
            assert!(matches!(end, Message::Close(1000, _)), "{end:?}");
        }
        Err(answer) => assert_eq!(answer.status, 404, "{}", answer.text),
    }
}
