//! H05: frames that break the protocol or its bounds; the connection is closed with the code of RFC 6455.

use bulkhead_tests::websocket::{Message, WebSocket, head};
use bulkhead_tests::{Server, Terminal};
use serde_json::json;
use std::time::{Duration, Instant};

/// The frames above 64 KiB that a client may not send.
const TOO_LONG: usize = (64 << 10) + 1;

/// Sends raw bytes over a fresh terminal and gives the close code; 0 for a connection that just ended.
fn code_after(mut terminal: Terminal, bytes: &[u8]) -> u16 {
    let _prompt = terminal.prompt();
    terminal.socket.bytes(bytes);
    match terminal.end(Duration::from_secs(10)) {
        Message::Close(code, _) => code,
        _ => 0,
    }
}

/// A masked frame; the mask is zero, which leaves the payload as it is.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len(), 0x80);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn h05_breaches_of_the_protocol_are_1002() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut unmasked = head(0x81, 2, 0);
    unmasked.extend_from_slice(b"ls");
    let rows: &[(&str, Vec<u8>)] = &[
        ("unmasked", unmasked),
        ("rsv1", masked(0xc1, b"ls")),
        ("rsv2", masked(0xa1, b"ls")),
        ("rsv3", masked(0x91, b"ls")),
        ("opcode 3", masked(0x83, b"ls")),
        ("opcode 11", masked(0x8b, b"ls")),
        ("a fragmented ping", masked(0x09, b"ls")),
        ("a long ping", masked(0x89, &[b'x'; 126])),
        ("a continuation of nothing", masked(0x80, b"ls")),
        ("a message within a message", [masked(0x01, b"l"), masked(0x81, b"s")].concat()),
        ("a close of one byte", masked(0x88, &[3])),
        ("a close with a code of nobody", masked(0x88, &1005_u16.to_be_bytes())),
    ];
    for (what, bytes) in rows {
        let code = code_after(sandbox.terminal(&session, ""), bytes);
        assert_eq!(code, 1002, "{what}");
    }
    let code = code_after(sandbox.terminal(&session, ""), &masked(0x81, b"\xff\xfe"));
    assert_eq!(code, 1007, "a text that is none");
    crate::wait_for_clients(&sandbox, &session, 0);
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    assert!(terminal.command("echo goes on").contains("\ngoes on\r\n"), "the session is untouched");
    assert!(!terminal.text().contains("command not found"), "nothing of it was typed: {:?}", terminal.text());
}

#[test]
fn h05_what_is_too_long_is_1009() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let endless: Vec<u8> =
        (0..40_u8).flat_map(|n| masked(if n == 0 { 2 } else { 0 }, &[b' '; 4096])).collect();
    let mut promised = vec![0x82, 0xff];
    promised.extend_from_slice(&(1_u64 << 40).to_be_bytes());
    promised.extend_from_slice(&[0; 4]);
    let rows = [
        ("one message", masked(0x82, &vec![b' '; 2 << 20])),
        ("a byte more than may be", masked(0x82, &vec![b' '; TOO_LONG])),
        ("fragments without end", endless),
        ("a promise of a terabyte", promised),
    ];
    for (what, bytes) in rows {
        let code = code_after(sandbox.terminal(&session, ""), &bytes);
        assert_eq!(code, 1009, "{what}");
    }
    let mut negative = vec![0x82, 0xff];
    negative.extend_from_slice(&(1_u64 << 63).to_be_bytes());
    negative.extend_from_slice(&[0; 4]);
    let code = code_after(sandbox.terminal(&session, ""), &negative);
    assert!(matches!(code, 1002 | 1009), "the top bit of a length: {code}");
    crate::wait_for_clients(&sandbox, &session, 0);
}

#[test]
fn h05_tiny_frames_and_pings_by_the_thousand_grow_nothing_alone() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let before = server.half("gateway").resident_kib();
    let pings = masked(0x89, b"12345678").repeat(1000);
    let empty = masked(0x82, b"").repeat(1000);
    for _ in 0..50 {
        terminal.socket.bytes(&pings);
        terminal.socket.bytes(&empty);
        let mut pongs = 0;
        let start = Instant::now();
        while pongs < 1000 && terminal.closed.is_none() {
            match terminal.socket.receive(Duration::from_secs(10)) {
                Some(Message::Pong(_)) => pongs += 1,
                Some(Message::Data(_)) => {}
                // A server may also refuse such a client.
                other => terminal.closed = Some(other.unwrap_or(Message::Gone)),
            }
            assert!(start.elapsed() < Duration::from_secs(20), "{pongs} pongs");
        }
    }
    let after = server.half("gateway").resident_kib();
    assert!(after < before + (16 << 10), "{after} KiB, {before} before");
    let mut again = sandbox.terminal(&session, "");
    let _prompt = again.prompt();
}

/// No extension is taken, so no frame may be compressed and nothing is ever inflated.
#[test]
fn h05_offers_of_compression_are_not_taken() {
    let server = Server::start();
    let sandbox = server.create();
    let path = format!("/api{}?apiKey={}", sandbox.path("/pty"), server.client().key());
    let offer = "permessage-deflate; client_max_window_bits; server_max_window_bits=15".to_owned();
    for offers in [offer.clone(), vec![offer; 200].join(", ")] {
        // The client looks for an extension in the answer itself.
        let headers = [("Sec-WebSocket-Extensions", offers.as_str())];
        let mut socket = WebSocket::connect(server.address(), &path, &headers).expect("an upgrade");
        // What a bomb begins with: a compressed message.
        socket.bytes(&masked(0xc2, &[0xec, 0xc1, 0x01, 0x01]));
        assert!(matches!(socket.end(Duration::from_secs(10)), Message::Close(1002, _)));
    }
}

#[test]
fn h05_what_follows_a_close_is_not_typed() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let bytes = [masked(0x88, &1000_u16.to_be_bytes()), masked(0x81, b"touch /tmp/late\n")].concat();
    let code = code_after(sandbox.terminal(&session, ""), &bytes);
    assert!(matches!(code, 1000 | 1005), "{code}");
    let mut terminal = sandbox.terminal(&session, "");
    let _prompt = terminal.prompt();
    let _output = terminal.command("true");
    assert_ne!(sandbox.exec("test -e /tmp/late").code, 0);
}
