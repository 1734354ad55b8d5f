//! Group H: clients that abuse HTTP itself. H09 is in `transfers.rs`, H05 in `tests/terminal/hostile.rs`,
//! H06 in `tests/streams/slow.rs`, H14 in `tests/contract/fuzz.rs`.

use crate::base::{Base, raise_descriptors};
use bulkhead_tests::residue::descriptors;
use bulkhead_tests::{Server, raw, within};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Connections that are held on which nobody has shown a key.
const STRANGERS: usize = 768;
/// Connections of a slowloris.
const SLOW: usize = 2000;
/// One more byte of each comes so often.
const BYTE_EVERY: Duration = Duration::from_secs(10);
/// The whole head must have come within 10 s; the rest is room for a busy machine.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// A body must have come within 30 s.
const BODY_PATIENCE: Duration = Duration::from_secs(40);
/// Who reads nothing is cut after 60 s.
const READ_PATIENCE: Duration = Duration::from_secs(75);
/// What the gateway may grow by, in KiB: pages of an allocator that keeps some.
const GROWTH: u64 = 32 << 10;

/// Whether the server has ended a connection; what it said before is read and dropped.
fn ended(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let mut some = [0; 4096];
    loop {
        match stream.read(&mut some) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}

fn wait_ended(streams: &mut Vec<TcpStream>, start: Instant, patience: Duration) {
    while !streams.is_empty() {
        streams.retain_mut(|stream| !ended(stream));
        assert!(start.elapsed() < patience, "{} are held after {:?}", streams.len(), start.elapsed());
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn request(server: &Server, head: &str, body: &str) -> String {
    let (address, key) = (server.address(), server.client().key());
    format!("{head} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\n{body}")
}

#[test]
fn h01_slowloris_is_cut_and_disturbs_nobody_alone() {
    raise_descriptors();
    let server = Server::start();
    let base = Base::of(&server);
    let quiet = base.p99();
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| raw::connect(server.address())).collect();
    let opened = start.elapsed();
    // More than may be without a key: the oldest are closed already.
    slow.iter_mut().for_each(|stream| drop(stream.write_all(b"G")));
    base.assert_undisturbed(quiet);
    std::thread::sleep(BYTE_EVERY.saturating_sub(start.elapsed()));
    slow.iter_mut().for_each(|stream| drop(stream.write_all(b"E")));
    wait_ended(&mut slow, start, HEAD_PATIENCE + opened);
    base.assert_grown_at_most(SLOW as u64 * 20 + GROWTH);
    base.assert_back();
}

#[test]
fn h01_slow_bodies_are_408() {
    let server = Server::start();
    let base = Base::of(&server);
    let head = request(&server, "POST /api/sandboxes", "Content-Length: 1000\r\n\r\n{");
    let start = Instant::now();
    let mut slow: Vec<TcpStream> = (0..100).map(|_| raw::connect(server.address())).collect();
    slow.iter_mut().for_each(|stream| stream.write_all(head.as_bytes()).expect("the server listens"));
    let mut first = slow.pop().expect("a hundred");
    while !slow.is_empty() {
        slow.retain_mut(|stream| !ended(stream) && stream.write_all(b" ").is_ok());
        assert!(start.elapsed() < BODY_PATIENCE, "{} are held", slow.len());
        std::thread::sleep(Duration::from_secs(1));
    }
    assert_eq!(raw::finish(&mut first).status, 408);
    assert!(ended(&mut first), "the rest of a body is not read");
    base.assert_back();
}

#[test]
fn h01_answers_that_nobody_reads_are_given_up() {
    let server = Server::start();
    let base = Base::of(&server);
    let sandbox = server.create();
    let body = r#"{"command":"head -c 7000000 /dev/zero | tr '\\0' x"}"#;
    let head = format!("POST /api{}", sandbox.path("/exec"));
    let text = request(&server, &head, &format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    let sockets = || descriptors(server.half("gateway").pid).get("socket").copied().unwrap_or(0);
    let before = sockets();
    let mut silent: Vec<TcpStream> = (0..10).map(|_| raw::connect(server.address())).collect();
    silent.iter_mut().for_each(|stream| stream.write_all(text.as_bytes()).expect("the server listens"));
    std::thread::sleep(Duration::from_secs(5));
    assert!(sockets() >= before + silent.len(), "an answer that can go on is not given up");
    within(READ_PATIENCE, "who reads nothing is cut", || {
        let open = sockets();
        if open <= before { Ok(()) } else { Err(format!("{open} sockets, {before} before")) }
    });
    for stream in &mut silent {
        let (mut got, mut chunk) = (0, [0; 64 << 10]);
        while let Ok(many @ 1..) = stream.read(&mut chunk) {
            got += many;
        }
        assert!((1..7_000_000).contains(&got), "a whole answer of {got} bytes was held");
    }
    sandbox.delete();
    base.assert_back();
}

#[test]
fn h02_pipelined_requests_are_answered_one_by_one() {
    const MANY: usize = 10_000;
    let server = Server::start();
    let base = Base::of(&server);
    let one = request(&server, "GET /api/version", "\r\n");
    let mut writer = raw::connect(server.address());
    let mut reader = writer.try_clone().expect("a socket");
    let sender = std::thread::spawn(move || writer.write_all(one.repeat(MANY).as_bytes()));
    let (mut answers, mut text, mut chunk) = (0, Vec::new(), vec![0; 64 << 10]);
    while answers < MANY {
        let many = reader.read(&mut chunk).expect("answers go on");
        assert!(many > 0, "closed after {answers}");
        text.extend_from_slice(&chunk[..many]);
        let heads = text.windows(15).filter(|window| *window == b"HTTP/1.1 200 OK").count();
        answers += heads;
        // The beginning of a head may be the end of a piece.
        text.drain(..text.len().saturating_sub(14));
    }
    assert_eq!(answers, MANY);
    sender.join().expect("no panic").expect("all were taken");
    drop(reader);
    base.assert_grown_at_most(GROWTH);
    base.assert_back();
}

#[test]
fn h02_who_pipelines_and_does_not_read_is_not_read_either() {
    let server = Server::start();
    let base = Base::of(&server);
    let many = request(&server, "GET /api/openapi.json", "\r\n").repeat(1000);
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let mut stream = raw::connect(server.address());
        stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout above zero");
        let taken = (0..100).take_while(|_| stream.write_all(many.as_bytes()).is_ok()).count();
        assert!(taken < 100, "100,000 requests were taken without an answer being read");
        greedy.push(stream);
    }
    base.assert_grown_at_most(GROWTH);
    drop(greedy);
    base.assert_back();
}

#[test]
fn h02_more_connections_than_may_be_are_closed_alone() {
    raise_descriptors();
    let server = Server::start();
    let base = Base::of(&server);
    let start = Instant::now();
    let mut flood: Vec<TcpStream> = (0..5000).map(|_| raw::connect(server.address())).collect();
    let (_, opened) = (flood.iter_mut().for_each(|stream| drop(stream.write_all(b"G"))), start.elapsed());
    bulkhead_tests::eventually("those above the limit are closed", || {
        flood.retain_mut(|stream| !ended(stream));
        if flood.len() <= STRANGERS { Ok(()) } else { Err(format!("{} are held", flood.len())) }
    });
    assert!(!flood.is_empty(), "the newest wait for their head");
    let slowest = (0..20).map(|_| {
        let start = Instant::now();
        let _list = server.client().get("/sandboxes").expect(200);
        start.elapsed()
    });
    println!("a client with a key is answered within {:?}", slowest.max());
    wait_ended(&mut flood, start, HEAD_PATIENCE + opened);
    base.assert_back();
}

/// The server speaks HTTP/1.1 alone: no stream, setting, ping or continuation of HTTP/2 is ever looked at.
#[test]
fn h02_http_2_is_not_spoken() {
    let server = Server::start();
    let base = Base::of(&server);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let resets: Vec<u8> = (0..10_000_u32)
        .flat_map(|n| {
            let id = (2 * n + 1).to_be_bytes();
            let headers = [&[0, 0, 1, 1, 4][..], &id, &[0x82]].concat();
            [headers, [&[0, 0, 4, 3, 0][..], &id, &[0, 0, 0, 8]].concat()].concat()
        })
        .collect();
    for bytes in [preface.to_vec(), [&preface[..], &resets].concat()] {
        let mut stream = raw::connect(server.address());
        let start = Instant::now();
        drop(stream.write_all(&bytes));
        let answer = raw::finish(&mut stream);
        assert!(matches!(answer.status, 0 | 400 | 505), "{}", answer.text);
        wait_ended(&mut vec![stream], start, Duration::from_secs(2));
    }
    let upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n";
    let answer = raw::exchange(server.address(), request(&server, "GET /api/version", upgrade).as_bytes());
    assert_eq!(answer.status, 200, "an offer is ignored: {}", answer.text);
    base.assert_back();
}

#[test]
fn h03_header_bombs_are_refused_at_once() {
    let server = Server::start();
    let base = Base::of(&server);
    let headers: String = (0..10_000).map(|n| format!("X-{n}: a\r\n")).collect();
    let same = "X-Same: a\r\n".repeat(10_000);
    let long = format!("X-Long: {}\r\n", "a".repeat(1 << 20));
    let uri = format!("/{}", "a".repeat(64 << 10));
    let rows = [
        ("10,000 headers", "/api/version", "Host: a\r\n", headers.as_str()),
        ("10,000 of one name", "/api/version", "Host: a\r\n", &same),
        ("a header of 1 MiB", "/api/version", "Host: a\r\n", &long),
        ("a path of 64 KiB", uri.as_str(), "Host: a\r\n", ""),
        ("no host", "/api/version", "", ""),
        ("two hosts", "/api/version", "Host: a\r\nHost: a\r\n", ""),
        ("a folded line", "/api/version", "Host: a\r\n", "X: a\r\n b\r\n"),
        ("a blank before the colon", "/api/version", "Host: a\r\n", "Transfer-Encoding : chunked\r\n"),
        ("NUL", "/api/version", "Host: a\r\n", "X: a\0b\r\n"),
        ("a bare CR", "/api/version", "Host: a\r\n", "X: a\rb\r\n"),
    ];
    for (what, path, host, more) in rows {
        let text = format!("GET {path} HTTP/1.1\r\n{host}{more}\r\n");
        let start = Instant::now();
        let answer = raw::exchange(server.address(), text.as_bytes());
        // 0: closed with unread bytes, which resets the connection and may take the answer with it.
        assert!(matches!(answer.status, 0 | 400 | 414 | 431), "{what}: {}", answer.text);
        assert!(start.elapsed() < Duration::from_secs(1), "{what}: {:?}", start.elapsed());
    }
    base.assert_grown_at_most(GROWTH);
    base.assert_back();
}

/// What a page of a browser could send to a server on this machine. No answer lets it read anything, and without
/// the key, which no browser adds by itself, there is nothing to get: not even by a name that leads here.
#[test]
fn h13_pages_of_strangers_get_nothing() {
    let server = Server::start();
    let base = Base::of(&server);
    let key = server.client().key();
    for host in [server.address(), "evil.example", "evil.example:80"] {
        for (method, path) in [("GET", "/api/sandboxes"), ("POST", "/api/sandboxes"), ("GET", "/api/version")]
        {
            let headers = "Origin: http://evil.example\r\nCookie: key=x\r\nContent-Length: 2\r\n\r\n{}";
            let text = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{headers}");
            let answer = raw::exchange(server.address(), text.as_bytes());
            let open = if path == "/api/version" { 200 } else { 401 };
            assert_eq!(answer.status, open, "{host} {path}: {}", answer.text);
            let lower = answer.text.to_ascii_lowercase();
            assert!(!lower.contains("access-control"), "{host} {path}: {lower}");
            assert!(!lower.contains("set-cookie"), "{host} {path}: {lower}");
        }
    }
    let preflight = [
        ("Origin", "http://evil.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "x-api-key"),
        ("X-API-Key", key),
    ];
    let answer = server.client().send("OPTIONS", "/api/sandboxes", &preflight, None);
    assert_eq!(answer.status, 405);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    base.assert_back();
}
