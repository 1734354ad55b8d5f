//! A client that does not read is dropped with a reason; nobody else notices.

use bulkhead_tests::Server;
use bulkhead_tests::websocket::Message;
use serde_json::json;
use std::time::{Duration, Instant};

/// A client that takes nothing is given 30 s by the gateway, and 5 s for a goodbye, from the last message that its
/// system took: that may have been late, since the agent lets go of a slow one by itself.
const DROPPED: Duration = Duration::from_secs(60);
/// What the gateway and an agent may grow by, in KiB.
const GROWTH: u64 = 24 << 10;

#[test]
fn one_who_does_not_read_is_dropped_alone() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    // One that can be told of a gap: on a busy host it may be too late for some of a flood.
    let mut reader = sandbox.terminal(&session, "&from=0");
    let _prompt = reader.prompt();
    let before = (server.half("gateway").resident_kib(), sandbox.agent().resident_kib());
    let mut silent: Vec<_> = (0..5).map(|_| sandbox.terminal(&session, "")).collect();
    crate::wait_for_clients(&sandbox, &session, 6);
    reader.send("yes flood\n");
    let (start, mut most, mut got) = (Instant::now(), before, 0_usize);
    while crate::clients(&sandbox, &session) != Some(1) {
        assert!(start.elapsed() < Duration::from_secs(90), "they are still there");
        let until = Instant::now() + Duration::from_millis(500);
        while Instant::now() < until {
            match reader.socket.receive(Duration::from_millis(100)) {
                Some(Message::Data(bytes)) => got += bytes.len(),
                Some(Message::Text(gap)) => assert!(gap.contains("\"gap\""), "{gap}"),
                None => {}
                other => panic!("the one who reads: {other:?}"),
            }
        }
        most.0 = most.0.max(server.half("gateway").resident_kib());
        most.1 = most.1.max(sandbox.agent().resident_kib());
    }
    println!(
        "dropped after {:?}; {got} bytes read; KiB {before:?} before, {most:?} at most",
        start.elapsed()
    );
    assert!(
        most.0 < before.0 + GROWTH && most.1 < before.1 + GROWTH,
        "{before:?} before, {most:?} KiB at most"
    );
    for terminal in &mut silent {
        let end = terminal.end(DROPPED);
        match end {
            Message::Close(code, reason) => {
                assert!(matches!(code, 1008 | 1013) && !reason.is_empty(), "{code} {reason}")
            }
            Message::Gone => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_terminal_of_ones_own_loses_nothing_and_hears_an_interrupt() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    terminal.send("stty -onlcr; seq 3000000; echo stopped\n");
    // The program is far ahead of every buffer by then, unless it waits.
    std::thread::sleep(Duration::from_secs(2));
    let text = terminal.until(0, "the last line", |text| text.contains("\n3000000\n"));
    let numbers = text.lines().filter_map(|line| line.parse::<u32>().ok());
    assert!((1..=3_000_000).eq(numbers), "something is missing");
    let from = terminal.seen.len();
    terminal.send("yes\n");
    std::thread::sleep(Duration::from_millis(500));
    terminal.send("\x03");
    let _rest = terminal.until(from, "the prompt", |text| text.contains("^C") && text.ends_with("# "));
}

#[test]
fn who_sits_at_a_session_sees_all_of_a_long_file() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    terminal.send("stty -onlcr; seq 1500000; echo stopped\n");
    // 11 MB: far more than the journal keeps for one that came later.
    let text = terminal.until(0, "the last line", |text| text.contains("\n1500000\n"));
    let numbers = text.lines().filter_map(|line| line.parse::<u32>().ok());
    assert!((1..=1_500_000).eq(numbers), "something is missing");
}

#[test]
fn a_client_that_cannot_be_told_of_a_gap_is_closed() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let (mut plain, mut told) = (sandbox.terminal(&session, ""), sandbox.terminal(&session, "&from=0"));
    let _prompts = (plain.prompt(), told.prompt());
    let start = std::time::Instant::now();
    plain.send("seq 3000000; echo at-the-$((1+0))-end\n");
    bulkhead_tests::within(Duration::from_secs(60), "the end is in the buffer", || {
        let data = sandbox.get(&format!("/pty/sessions/{session}/buffer")).data();
        if data["output"].as_str().is_some_and(|text| text.contains("\nat-the-1-end\r\n")) {
            Ok(())
        } else {
            Err(String::new())
        }
    });
    println!("written after {:?}", start.elapsed());
    let end = plain.end(Duration::from_secs(20));
    assert!(matches!(&end, Message::Close(1008, reason) if reason.contains("slow")), "{end:?}");
    let _text = told.until(0, "the end", |text| text.contains("\nat-the-1-end\r\n"));
    assert!(told.words.iter().any(|word| word.contains("\"gap\"")), "{:?}", told.words);
}

#[test]
fn a_flood_in_one_sandbox_delays_no_echo_in_another_alone() {
    let server = Server::start();
    let (loud, quiet) = (server.create(), server.create());
    let sessions: Vec<_> = (0..10).map(|_| loud.session(&json!({}))).collect();
    for session in &sessions {
        let _answer =
            loud.post(&format!("/pty/sessions/{session}/execute"), &json!({"command": "yes"})).expect(200);
    }
    let mut terminal = quiet.ephemeral();
    let _prompt = terminal.prompt();
    terminal.send("stty -icanon; cat > /dev/null\n");
    let _text = terminal.until(0, "cat", |text| text.contains("cat > /dev/null\r\n"));
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let (start, from) = (Instant::now(), terminal.seen.len());
            terminal.send("k");
            let _echo = terminal.until(from, "the echo", |text| text.contains('k'));
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    println!("echo: median {:?}, p99 {:?}", times[100], times[198]);
    assert!(times[100] < Duration::from_millis(20), "median {:?}", times[100]);
    assert!(times[198] < Duration::from_millis(200), "p99 {:?}", times[198]);
}

#[test]
fn one_who_answers_no_ping_is_dropped_and_one_who_does_stays() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let (mut dead, mut alive) = (sandbox.terminal(&session, ""), sandbox.terminal(&session, ""));
    let _prompts = (dead.prompt(), alive.prompt());
    let start = Instant::now();
    // Reading is what answers pings; the other one is not read.
    while crate::clients(&sandbox, &session) != Some(1) {
        assert!(start.elapsed() < Duration::from_secs(100), "a client that is gone is still there");
        let _quiet = alive.read(Duration::from_millis(500));
        assert!(alive.closed.is_none(), "{:?}", alive.closed);
    }
    assert!(start.elapsed() > Duration::from_secs(20), "dropped after {:?}", start.elapsed());
    assert!(alive.command("echo still here").contains("\nstill here\r\n"));
}
