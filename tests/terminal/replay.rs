//! Coming back, and being several.

use bulkhead_tests::{Server, Terminal};
use serde_json::json;
use std::time::Duration;

#[test]
fn who_comes_back_sees_what_was_there_and_the_session_goes_on() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let _output = terminal.command("A=kept; echo $((6*7))");
    let _output = terminal.command("(sleep 1; echo meanwhile) &");
    let before = terminal.text();
    drop(terminal);
    crate::wait_for_clients(&sandbox, &session, 0);
    let mut again = sandbox.terminal(&session, "");
    let _text = again.until(0, "what came meanwhile", |text| {
        text.contains("\nmeanwhile\r\n") || text.contains("# meanwhile\r\n")
    });
    assert!(again.text().starts_with(&before), "{:?} does not begin with {before:?}", again.text());
    let from = again.seen.len();
    again.send("echo $A\n");
    let _output = again.until(from, "the variable", |text| text.contains("\nkept\r\n"));
}

#[test]
fn several_see_the_same_and_each_may_type() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut all: Vec<Terminal> = (0..4).map(|_| sandbox.terminal(&session, "")).collect();
    crate::wait_for_clients(&sandbox, &session, 4);
    for terminal in &mut all {
        let _prompt = terminal.prompt();
    }
    for typist in 0..4 {
        let from = all[typist].seen.len();
        all[typist].send(&format!("echo from-$(({typist}+10))\n"));
        for terminal in &mut all {
            let expected = format!("\nfrom-{}\r\n", typist + 10);
            let _text =
                terminal.until(from, &expected, |text| text.contains(&expected) && text.ends_with("# "));
        }
    }
    let first = all[0].seen.clone();
    assert!(all.iter().all(|terminal| terminal.seen == first), "all have seen the same bytes");
    drop(all.split_off(1));
    crate::wait_for_clients(&sandbox, &session, 1);
    assert!(all[0].command("echo still").contains("\nstill\r\n"));
}

#[test]
fn two_sessions_are_two() {
    let server = Server::start();
    let sandbox = server.create();
    let (one, two) = (sandbox.session(&json!({})), sandbox.session(&json!({})));
    let (mut first, mut second) = (sandbox.terminal(&one, ""), sandbox.terminal(&two, ""));
    let _prompts = (first.prompt(), second.prompt());
    let _output = first.command("A=one; tty > /tmp/one");
    let output = second.command("echo \"[$A]\"; tty > /tmp/two; cmp -s /tmp/one /tmp/two || echo differ");
    assert!(output.contains("\n[]\r\ndiffer\r\n"), "{output:?}");
    assert!(!first.text().contains("differ"));
}

#[test]
fn an_offset_resumes() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let _output = terminal.command("seq 100; echo äöü€");
    let seen = terminal.seen.clone();
    drop(terminal);
    for offset in [0, 1, 17, seen.len() / 2, seen.len() - 5, seen.len()] {
        if std::str::from_utf8(&seen[offset..]).is_err() {
            continue;
        }
        let mut again = sandbox.terminal(&session, &format!("&from={offset}"));
        let rest = &seen[offset..];
        let text = String::from_utf8_lossy(rest).into_owned();
        bulkhead_tests::eventually("the rest", || {
            let _more = again.read(Duration::from_millis(100));
            if again.seen.len() >= rest.len() { Ok(()) } else { Err(again.text()) }
        });
        assert_eq!(again.text(), text, "from {offset}");
    }
    let mut again = sandbox.terminal(&session, &format!("&from={}", seen.len()));
    let output = again.command("echo live");
    assert!(output.contains("\nlive\r\n"));
}

#[test]
fn a_long_session_replays_its_end() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let execute = format!("/pty/sessions/{session}/execute");
    let _answer = sandbox.post(&execute, &json!({"command": "seq 2000000; echo end-$((1+1))"})).expect(200);
    bulkhead_tests::within(Duration::from_secs(60), "the end is in the buffer", || {
        let data = sandbox.get(&format!("/pty/sessions/{session}/buffer")).data();
        let text = data["output"].as_str().unwrap_or_default();
        if text.contains("\nend-2\r\n") { Ok(()) } else { Err(format!("{} bytes", text.len())) }
    });
    let mut terminal = sandbox.terminal(&session, "");
    let text = terminal.until(0, "the end", |text| text.contains("\nend-2\r\n") && text.ends_with("# "));
    assert!(text.len() >= 64 << 10 && text.len() <= 8 << 20, "{} bytes are kept", text.len());
    assert!(terminal.socket.largest <= 64 << 10, "a frame of {} bytes", terminal.socket.largest);
    assert!(text.contains("\n1999999\r\n2000000\r\n"), "the last lines are whole");
    assert!(terminal.words.is_empty(), "an SDK did not ask for {:?}", terminal.words);
    let mut told = sandbox.terminal(&session, "&from=7");
    let rest = told.until(0, "the end", |text| text.contains("\nend-2\r\n") && text.ends_with("# "));
    let gap: serde_json::Value = serde_json::from_str(&told.words.concat()).expect("one text message");
    assert_eq!(gap["gap"]["from"], 7, "{gap}");
    assert!(gap["gap"]["to"].as_u64() > Some(1 << 20), "{gap}");
    assert_eq!(rest.len(), text.len(), "and then the same bytes");
}

#[test]
fn a_restart_of_the_gateway_ends_connections_and_no_session() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let _output = terminal.command("A=survived");
    server.kill_half("gateway");
    let _end = terminal.end(Duration::from_secs(10));
    bulkhead_tests::eventually("the session is found again", || {
        if sandbox.get("/pty/sessions").status == 200 { Ok(()) } else { Err(String::new()) }
    });
    let mut again = sandbox.terminal(&session, "");
    let _prompt = again.prompt();
    assert!(again.command("echo $A").contains("\nsurvived\r\n"), "{:?}", again.text());
}
