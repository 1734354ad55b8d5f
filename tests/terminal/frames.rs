//! Frames of the server: whole characters, bounded, and pongs whatever else is under way.

use bulkhead_tests::websocket::{Message, opcode};
use bulkhead_tests::{Server, Terminal};
use std::time::{Duration, Instant};

/// Reads for a while; every message is checked for whole characters by the reader itself.
fn drain(terminal: &mut Terminal, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until && terminal.closed.is_none() {
        let _more = terminal.read(Duration::from_millis(50));
    }
}

#[test]
fn no_character_is_cut() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    let from = terminal.seen.len();
    terminal.send("python3 -c \"print('x' + '😀é€' * 60000); print('en' + 'd')\"\n");
    let text = terminal.until(from, "the end", |text| text.contains("\nend\r\n"));
    let characters = ["😀", "é", "€"].map(|c| text.matches(c).count());
    assert!(characters.iter().all(|count| *count >= 60_000), "{characters:?}");
    assert!(!text.contains('\u{fffd}'));
    assert!(terminal.socket.largest <= 64 << 10, "a frame of {} bytes", terminal.socket.largest);
}

#[test]
fn a_character_that_comes_in_two_writes_stays_one() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    let from = terminal.seen.len();
    terminal.send("for i in 1 2 3; do printf '\\xf0\\x9f'; sleep 0.3; printf '\\x98\\x80'; sleep 0.3; done; echo o''k\n");
    let text = terminal.until(from, "three in halves", |text| text.contains("ok\r\n"));
    assert!(text.contains("😀😀😀ok"), "{text:?}");
}

#[test]
fn what_is_no_text_comes_all_the_same() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    terminal.send("printf 'a\\xff\\xc3b\\x80'; echo; echo o''k\n");
    let mut bytes = Vec::new();
    let start = Instant::now();
    while !bytes.ends_with(b"# ") || !bytes.windows(4).any(|w| w == b"ok\r\n") {
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", String::from_utf8_lossy(&bytes));
        if let Some(Message::Data(more)) = terminal.socket.receive(Duration::from_secs(1)) {
            bytes.extend(more);
        }
    }
    assert!(bytes.windows(5).any(|w| w == b"a\xff\xc3b\x80"), "{bytes:?}");
}

#[test]
fn a_flood_comes_in_bounded_frames() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    terminal.send("yes 'äöü€😀 flood'\n");
    drain(&mut terminal, Duration::from_secs(2));
    assert!(terminal.closed.is_none() && terminal.seen.len() > 1 << 20, "{} bytes", terminal.seen.len());
    assert!(terminal.socket.largest <= 64 << 10, "a frame of {} bytes", terminal.socket.largest);
    // Nothing is in between that the program did not write: what came are whole characters and perhaps a beginning.
    let text = std::str::from_utf8(&terminal.seen);
    assert!(text.map_or_else(|error| error.error_len().is_none(), |_| true), "{text:?}");
    terminal.send("\u{3}");
    let from = terminal.seen.len();
    let _prompt = terminal.until(from, "ctrl-C reaches a flood", |text| text.ends_with("# "));
}

/// Bytes of `seq 1 LAST` on a terminal.
fn bytes_of_seq(last: usize) -> usize {
    (1..=last).map(|n| n.to_string().len() + 2).sum()
}

/// Sends `seq` to a terminal and gives the bytes of its output that came.
fn seq_on(terminal: &mut Terminal, last: usize) -> usize {
    let _prompt = terminal.prompt();
    terminal.send(&format!("seq {last}; echo en''d\n"));
    let start = Instant::now();
    while !terminal.seen.ends_with(b"# ")
        || !terminal.seen.windows(5).rev().take(300).any(|w| w == b"end\r\n")
    {
        assert!(
            terminal.read(Duration::from_secs(10)) && start.elapsed() < Duration::from_secs(60),
            "no end"
        );
    }
    let text = bulkhead_tests::terminal::plain(&terminal.seen);
    let command = text.find("en''d").map(|at| at + "en''d\r\n".len()).expect("the echo");
    text[command..].find("end\r\n").expect("the end")
}

#[test]
fn what_a_resuming_client_misses_is_named() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&serde_json::json!({}));
    let mut terminal = sandbox.terminal(&session, "&from=0");
    let got = seq_on(&mut terminal, 1_000_000);
    let gaps = terminal.words.iter().map(|word| {
        let gap: serde_json::Value = serde_json::from_str(word).unwrap_or_else(|e| panic!("{e}: {word}"));
        gap["gap"]["to"].as_u64().expect("to") - gap["gap"]["from"].as_u64().expect("from")
    });
    let named = usize::try_from(gaps.sum::<u64>()).expect("small");
    assert_eq!(got + named, bytes_of_seq(1_000_000), "{} gaps", terminal.words.len());
}

#[test]
fn one_who_reads_at_once_misses_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let (got, all) = (seq_on(&mut sandbox.ephemeral(), 1_000_000), bytes_of_seq(1_000_000));
    assert_eq!(got, all, "{} bytes were lost without a word", all - got.min(all));
}

#[test]
fn pings_are_answered_while_output_floods() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    terminal.send("yes flood\n");
    drain(&mut terminal, Duration::from_millis(500));
    for n in 0..20_u8 {
        let payload = vec![n; usize::from(n) * 6];
        terminal.socket.message(opcode::PING, &payload);
        let start = Instant::now();
        loop {
            match terminal.socket.receive(Duration::from_secs(5)) {
                Some(Message::Pong(got)) => {
                    assert_eq!(got, payload);
                    break;
                }
                Some(Message::Data(_)) => {}
                other => panic!("{other:?} after {:?}", start.elapsed()),
            }
            assert!(start.elapsed() < Duration::from_secs(5), "no pong");
        }
    }
}

#[test]
fn pings_are_answered_while_input_is_blocked() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    terminal.send("stty raw -echo; sleep 30\n");
    drain(&mut terminal, Duration::from_millis(300));
    for _ in 0..16 {
        terminal.socket.message(opcode::BINARY, &[b'x'; 4096]);
    }
    terminal.socket.message(opcode::PING, b"there?");
    let start = Instant::now();
    while terminal.socket.receive(Duration::from_secs(10)) != Some(Message::Pong(b"there?".to_vec())) {
        assert!(start.elapsed() < Duration::from_secs(10), "no pong");
    }
}

#[test]
fn text_and_binary_are_both_typed() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    terminal.socket.message(opcode::BINARY, b"echo bin$((1+1))\n");
    let _text = terminal.until(0, "binary", |text| text.contains("\nbin2\r\n"));
    terminal.socket.frame(opcode::TEXT, b"echo frag");
    terminal.socket.frame(opcode::CONTINUATION, b"ment");
    terminal.socket.message(opcode::PING, b"between");
    terminal.socket.frame(0x80 | opcode::CONTINUATION, b"$((2+2))\n");
    let _text = terminal.until(0, "fragments", |text| text.contains("\nfragment4\r\n"));
    terminal.send("");
    let long = format!("echo {} | wc -c\n", "y".repeat(3000));
    terminal.send(&long);
    let _text = terminal.until(0, "a long line", |text| text.contains("\n3001\r\n"));
}

#[test]
fn much_may_be_typed_when_it_is_read() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    let from = terminal.seen.len();
    terminal.send("stty raw -echo; echo re''ady; head -c 1000000 | md5sum; stty sane; echo o''k\n");
    let _ready = terminal.until(from, "ready", |text| text.contains("ready"));
    for _ in 0..20 {
        terminal.socket.message(opcode::BINARY, &[b'k'; 50_000]);
    }
    let text = terminal.until(from, "the sum", |text| text.contains("ok\r\n"));
    assert!(text.contains("e231a53bc5c4dfef52b34d0edc7d9756"), "the sum of a million letters: {text:?}");
}
