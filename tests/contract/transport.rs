//! HTTP itself: what no library would send, and clients that are slow.

use bulkhead_tests::{Server, raw};
use std::io::Write;
use std::time::{Duration, Instant};

/// Time for the whole head of a request, with room for a busy machine.
const HEADER_PATIENCE: Duration = Duration::from_secs(15);

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
