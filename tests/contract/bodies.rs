//! Bodies that are no request: not JSON, of the wrong kind, too large, not text.

use crate::create_body;
use bulkhead_tests::{Server, raw};
use serde_json::json;
use std::time::{Duration, Instant};

/// One byte more than a JSON body may have.
const TOO_LARGE: usize = (2 << 20) + 1;

fn post(server: &Server, path: &str, headers: &str, body: &[u8]) -> raw::RawAnswer {
    let head = format!(
        "POST /api{path} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\nConnection: close\r\n{headers}\r\n\r\n",
        server.address(),
        server.client().key()
    );
    raw::exchange(server.address(), &[head.as_bytes(), body].concat())
}

fn post_json(server: &Server, path: &str, body: &[u8]) -> raw::RawAnswer {
    let headers = format!("Content-Type: application/json\r\nContent-Length: {}", body.len());
    post(server, path, &headers, body)
}

fn assert_envelope(answer: &raw::RawAnswer, status: u16, what: &str) {
    assert_eq!(answer.status, status, "{what}: {}", answer.text);
    let body = answer.text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    assert!(body.contains("\"error\""), "{what}: no envelope in {}", answer.text);
}

#[test]
fn h10_what_is_no_json_object_is_400() {
    let server = Server::start();
    let sandbox = server.create();
    let exec = format!("/sandboxes/{}/exec", sandbox.id());
    let deep = "[".repeat(100_000);
    let deep_object = "{\"a\":".repeat(100_000);
    let bodies: Vec<(&str, &[u8])> = vec![
        ("nothing", b""),
        ("blanks", b"  \n"),
        ("a word", b"hello"),
        ("cut off", b"{\"name\":\"x\""),
        ("two values", b"{\"name\":\"x\"}{}"),
        ("an array", b"[]"),
        ("a number", b"17"),
        ("null", b"null"),
        ("deep array", deep.as_bytes()),
        ("deep object", deep_object.as_bytes()),
        ("invalid UTF-8", b"{\"name\":\"\xff\xfe\"}"),
        ("a raw NUL", b"{\"name\":\"a\0b\"}"),
        ("a huge number", b"{\"name\":\"x\",\"cpu\":1e400}"),
        ("NaN", b"{\"name\":\"x\",\"cpu\":NaN}"),
        ("a lone surrogate", b"{\"name\":\"\\ud800\",\"command\":\"\\ud800\"}"),
        ("form data", b"name=x&image=code"),
    ];
    for (what, body) in bodies {
        assert_envelope(&post_json(&server, "/sandboxes", body), 400, what);
        assert_envelope(&post_json(&server, &exec, body), 400, what);
    }
    assert_eq!(sandbox.exec("echo still here").stdout, "still here\n");
}

/// Bodies that cost a careless parser much; each is answered at once, and the machine's own noise is no failure.
#[test]
fn h10_bodies_made_to_be_expensive_are_answered_at_once_alone() {
    const AT_ONCE: Duration = Duration::from_millis(50);
    let server = Server::start();
    let sandbox = server.create();
    let exec = format!("/sandboxes/{}/exec", sandbox.id());
    let list = |items: Vec<String>| items.join(",");
    let keys = list((0..150_000).map(|n| format!("\"k{n}\":0")).collect());
    let same = list(vec!["\"command\":\"true\"".to_owned(); 60_000]);
    let env = list((0..60_000).map(|n| format!("\"K{n}\":\"\"")).collect());
    let bodies = [
        ("150,000 keys", format!("{{\"command\":\"true\",{keys}}}")),
        ("one key again and again", format!("{{{same}}}")),
        ("60,000 variables", format!("{{\"command\":\"true\",\"env\":{{{env}}}}}")),
        ("a string of 2 MB", format!("{{\"command\":\"{}\"}}", "a".repeat(2_000_000))),
        ("300,000 escapes", format!("{{\"command\":\"{}\"}}", "\\u00e9".repeat(300_000))),
        ("a number of 2 MB", format!("{{\"command\":\"true\",\"timeout\":{}}}", "9".repeat(2_000_000))),
        ("arrays as deep as they are long", format!("{{\"args\":{}", "[".repeat(1_000_000))),
        ("a million items", format!("{{\"command\":\"true\",\"args\":[{}0]}}", "0,".repeat(1_000_000))),
    ];
    for (what, body) in bodies {
        let times = (0..5).map(|_| {
            let start = Instant::now();
            assert_envelope(&post_json(&server, &exec, body.as_bytes()), 400, what);
            start.elapsed()
        });
        let time = times.min().expect("five");
        assert!(time < AT_ONCE, "{what}: {time:?}");
    }
}

#[test]
fn a_body_above_2_mib_is_413() {
    let server = Server::start();
    let sandbox = server.create();
    let padding = "x".repeat(TOO_LARGE);
    let body = json!({"name": "big", "command": "true", "padding": padding}).to_string();
    for path in ["/sandboxes".to_owned(), format!("/sandboxes/{}/exec", sandbox.id())] {
        assert_envelope(&post_json(&server, &path, body.as_bytes()), 413, &path);
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        let headers = "Content-Type: application/json\r\nTransfer-Encoding: chunked";
        assert_envelope(&post(&server, &path, headers, chunk.as_bytes()), 413, "chunked");
        let claim = "Content-Type: application/json\r\nContent-Length: 99999999999";
        assert_envelope(&post(&server, &path, claim, b"{"), 413, "announced");
    }
    assert_eq!(sandbox.exec("echo still here").stdout, "still here\n");
}

#[test]
fn a_body_just_below_the_limit_is_read() {
    let server = Server::start();
    let padding = "x".repeat(TOO_LARGE - 200);
    let body = create_body(&json!({"padding": padding})).to_string();
    assert!(body.len() < TOO_LARGE);
    let _data = server.client().call("POST", "/sandboxes", Some(&body)).expect(201).data();
}

#[test]
fn the_label_of_a_body_does_not_matter() {
    let server = Server::start();
    let key = server.client().key();
    let body = create_body(&json!({})).to_string();
    for kind in ["application/json; charset=utf-8", "text/plain", "application/octet-stream"] {
        let headers = [("X-API-Key", key), ("Content-Type", kind)];
        let answer = server.client().send("POST", "/api/sandboxes", &headers, Some(&body));
        assert!(matches!(answer.status, 201 | 415), "{kind}: {}", answer.text());
    }
    let headers = [("X-API-Key", key), ("Content-Type", "application/json")];
    let _data = server.client().send("POST", "/api/sandboxes", &headers, Some(&body)).expect(201).data();
}
