//! HTTP itself: what no library would send, and clients that are slow.

use bulkhead_tests::{Server, eventually, host, raw};
use nix::sys::signal::Signal;
use std::io::Write;
use std::time::{Duration, Instant};

/// Time for the whole head of a request, with room for a busy machine.
const HEADER_PATIENCE: Duration = Duration::from_secs(15);

/// A closing gateway waits 2 s for those that it accepted; a test that needs longer to speak shows nothing.
const IN_TIME: Duration = Duration::from_secs(1);

fn get_version(server: &Server, more: &str) -> raw::RawAnswer {
    let text = format!("GET /api/version HTTP/1.1\r\nHost: {}\r\n{more}\r\n", server.address());
    raw::exchange(server.address(), text.as_bytes())
}

#[test]
fn what_is_no_http_is_refused_and_the_server_goes_on() {
    let server = Server::start();
    let requests: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\nhello\r\n\r\n".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET /api/version HTTP/9.9\r\n\r\n".to_vec(),
        b"GET /api/version HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n".to_vec(),
        b"GET /api/version HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n".to_vec(),
        b"POST /api/sandboxes HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /api/sandboxes HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
            .to_vec(),
        b"POST /api/sandboxes HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
    ];
    for request in requests {
        let mut stream = raw::connect(server.address());
        drop(stream.write_all(&request));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let answer = raw::finish(&mut stream);
        let refused = matches!(answer.status, 0 | 400..=499 | 505);
        assert!(refused, "{:?}: {}", String::from_utf8_lossy(&request), answer.text);
    }
    assert_eq!(get_version(&server, "Connection: close\r\n").status, 200);
}

#[test]
fn heads_have_a_limit() {
    let server = Server::start();
    let one = format!("X-Long: {}\r\n", "a".repeat(200 << 10));
    let many: String = (0..500).map(|n| format!("X-{n}: a\r\n")).collect();
    for more in [one, many] {
        let answer = get_version(&server, &more);
        assert!(matches!(answer.status, 0 | 400 | 431), "{}", answer.text);
    }
    let long_path = format!("GET /api/{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(200 << 10));
    let answer = raw::exchange(server.address(), long_path.as_bytes());
    assert!(matches!(answer.status, 0 | 400 | 414 | 431), "{}", answer.text);
    assert_eq!(get_version(&server, "Connection: close\r\n").status, 200);
}

#[test]
fn smuggled_lengths_are_refused() {
    let server = Server::start();
    let head = format!("POST /api/sandboxes HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\n", server.client().key());
    let hidden = "0\r\n\r\nGET /api/version HTTP/1.1\r\nHost: a\r\n\r\n";
    for lengths in ["Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding : chunked\r\n"]
    {
        let mut stream = raw::connect(server.address());
        drop(stream.write_all(format!("{head}{lengths}\r\n{hidden}").as_bytes()));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let answer = raw::finish(&mut stream);
        assert!(matches!(answer.status, 0 | 400..=499), "{lengths:?}: {}", answer.text);
    }
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let server = Server::start();
    let one = format!("GET /api/version HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    let last =
        format!("GET /api/version HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", server.address());
    let mut stream = raw::connect(server.address());
    stream.write_all(one.as_bytes()).expect("the server listens");
    assert_eq!(raw::finish(&mut stream).status, 200);
    stream.write_all(last.as_bytes()).expect("the connection is kept");
    assert_eq!(raw::finish(&mut stream).status, 200);
}

#[test]
fn slow_heads_are_cut_off_and_disturb_nobody() {
    let server = Server::start();
    let mut slow: Vec<_> = (0..50).map(|_| raw::connect(server.address())).collect();
    for stream in &mut slow {
        stream.write_all(b"GET /api/version HTTP/1.1\r\nHost: a\r\nX-Slow").expect("the server listens");
    }
    let start = Instant::now();
    assert_eq!(get_version(&server, "Connection: close\r\n").status, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "slow clients slow others");
    for stream in &mut slow {
        stream.set_read_timeout(Some(HEADER_PATIENCE)).expect("a timeout above zero");
        let answer = raw::finish(stream);
        assert!(matches!(answer.status, 0 | 408 | 400), "{}", answer.text);
    }
    assert!(start.elapsed() < HEADER_PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn a_client_that_goes_away_leaves_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let body = r#"{"command":"echo $$ >/tmp/pid; sleep 200"}"#;
    let request = format!(
        "POST /api/sandboxes/{}/exec HTTP/1.1\r\nHost: a\r\nX-API-Key: {}\r\nContent-Length: {}\r\n\r\n{body}",
        sandbox.id(),
        server.client().key(),
        body.len()
    );
    let mut stream = raw::connect(server.address());
    stream.write_all(request.as_bytes()).expect("the server listens");
    bulkhead_tests::eventually("the command runs", || {
        let run = sandbox.exec("test -s /tmp/pid && kill -0 $(cat /tmp/pid)");
        if run.code == 0 { Ok(()) } else { Err(run.data.to_string()) }
    });
    drop(stream);
    bulkhead_tests::eventually("the command ends with its connection", || {
        let run = sandbox.exec("kill -0 $(cat /tmp/pid)");
        if run.code == 0 { Err("it runs".to_owned()) } else { Ok(()) }
    });
}

/// Whether a gateway that is told to end answers those that it had accepted; `None` where this test was too slow to ask.
fn ask_one_that_closes(server: &Server) -> Option<[raw::RawAnswer; 3]> {
    let ask = format!("GET /api/version HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    let (begin, rest) = ask.split_at(20);
    let [mut silent, mut begun, mut kept] = [(); 3].map(|()| raw::connect(server.address()));
    begun.write_all(begin.as_bytes()).expect("the server listens");
    kept.write_all(ask.as_bytes()).expect("the server listens");
    // Connections are accepted in their order: this answer shows that all three were.
    assert_eq!(raw::finish(&mut kept).status, 200);
    let closings = || server.log().matches("closing: requests under way").count();
    let (before, gateway, start) = (closings(), server.half("gateway").pid, Instant::now());
    host::signal(gateway, Signal::SIGTERM);
    eventually("the gateway closes", || if closings() > before { Ok(()) } else { Err(server.log_tail()) });
    drop(silent.write_all(ask.as_bytes()));
    drop(begun.write_all(rest.as_bytes()));
    let in_time = start.elapsed() < IN_TIME;
    let answers = [&mut silent, &mut begun, &mut kept].map(raw::finish);
    eventually("another gateway", || match server.half("gateway").pid {
        new if new != gateway => Ok(()),
        _ => Err("still the old one".to_owned()),
    });
    server.wait_healthy();
    in_time.then_some(answers)
}

#[test]
fn who_was_accepted_is_answered_by_a_gateway_that_closes() {
    let server = Server::start();
    let tries = std::iter::repeat_with(|| ask_one_that_closes(&server)).take(10);
    let [silent, begun, kept] = tries.flatten().next().expect("a second for two writes, once in ten times");
    for answer in [silent, begun] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(answer.text.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{}", answer.text);
    }
    assert_eq!(kept.text, "", "nobody waits on it: it ends at once");
}
