//! What is checked before the upgrade, and answered as plain HTTP.

use crate::UNKNOWN_ID;
use bulkhead_tests::websocket::{Message, WebSocket};
use bulkhead_tests::{Sandbox, Server};
use serde_json::json;
use std::time::Duration;

/// Asks for an upgrade; the status.
fn status(server: &Server, path: &str, query: &str, headers: &[(&str, &str)]) -> u16 {
    match WebSocket::connect(server.address(), &format!("/api{path}{query}"), headers) {
        Ok(_) => 101,
        Err(answer) => {
            assert!(answer.text.contains("\"error\""), "no error body: {}", answer.text);
            answer.status
        }
    }
}

/// Paths of both kinds of terminal.
fn paths(sandbox: &Sandbox<'_>) -> [String; 2] {
    let session = sandbox.session(&json!({}));
    [sandbox.path("/pty"), sandbox.path(&format!("/pty/sessions/{session}"))]
}

#[test]
fn the_key_comes_first() {
    let server = Server::start();
    let sandbox = server.create();
    let good = format!("?apiKey={}", server.client().key());
    for path in paths(&sandbox) {
        assert_eq!(status(&server, &path, "", &[]), 401, "{path}: without a key");
        assert_eq!(status(&server, &path, "?apiKey=", &[]), 401, "{path}: an empty key");
        assert_eq!(status(&server, &path, "?apiKey=bh_wrong", &[]), 401, "{path}: a wrong key");
        assert_eq!(status(&server, &path, "?apikey=x", &[]), 401, "{path}: another name");
        assert_eq!(status(&server, &path, &good, &[]), 101, "{path}: the key in the query");
        assert_eq!(
            status(&server, &path, "", &[("X-API-Key", server.client().key())]),
            101,
            "{path}: in the header"
        );
        let encoded = good.replacen('_', "%5F", 1);
        assert_eq!(status(&server, &path, &encoded, &[]), 101, "{path}: percent-encoded");
    }
    let elsewhere = server.client().send("GET", &format!("/api/sandboxes{good}"), &[], None);
    assert_eq!(elsewhere.status, 401, "a key in the query is for WebSockets alone");
}

#[test]
fn what_does_not_exist_is_404() {
    let server = Server::start();
    let sandbox = server.create();
    let good = format!("?apiKey={}", server.client().key());
    for path in [
        format!("/sandboxes/{UNKNOWN_ID}/pty"),
        format!("/sandboxes/{UNKNOWN_ID}/pty/sessions/sess-1"),
        sandbox.path("/pty/sessions/sess-0000000000000000"),
        sandbox.path("/pty/sessions/1048577"),
        sandbox.path("/pty/nosuch"),
    ] {
        assert_eq!(status(&server, &path, &good, &[]), 404, "{path}");
    }
    let pid = sandbox.run("sleep 60");
    assert_eq!(
        status(&server, &sandbox.path(&format!("/pty/sessions/{pid}")), &good, &[]),
        404,
        "no terminal"
    );
    let other = server.create();
    let [_, path] = paths(&other);
    let session = path.rsplit('/').next().unwrap_or_default();
    assert_eq!(
        status(&server, &sandbox.path(&format!("/pty/sessions/{session}")), &good, &[]),
        404,
        "another's"
    );
}

#[test]
fn strangers_find_nothing() {
    let server = Server::start();
    let sandbox = server.create();
    let made = server.command(&["org", "create", "other"]);
    assert!(made.status.success(), "org create: {made:?}");
    let key = server.command(&["key", "create", "--org", "other"]);
    let key = String::from_utf8(key.stdout).expect("a key is ASCII");
    for path in paths(&sandbox) {
        assert_eq!(status(&server, &path, &format!("?apiKey={}", key.trim()), &[]), 404, "{path}");
    }
}

#[test]
fn an_origin_must_be_the_servers_own() {
    let server = Server::start();
    let sandbox = server.create();
    let good = format!("?apiKey={}", server.client().key());
    let own = format!("http://{}", server.address());
    for path in paths(&sandbox) {
        for foreign in ["http://evil.example", "null", "https://127.0.0.1.evil.example", "http://127.0.0.1:1"]
        {
            assert_eq!(status(&server, &path, &good, &[("Origin", foreign)]), 403, "{path} from {foreign}");
        }
        assert_eq!(status(&server, &path, &good, &[("Origin", &own)]), 101, "{path} from {own}");
    }
}

#[test]
fn what_is_no_upgrade_is_refused() {
    let server = Server::start();
    let sandbox = server.create();
    let key = server.client().key();
    let key_line = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let rows = [
        String::new(),
        format!("{upgrade}{version}"),
        format!("{upgrade}{key_line}"),
        format!("{upgrade}{key_line}Sec-WebSocket-Version: 8\r\n"),
        format!("Connection: Upgrade\r\n{key_line}{version}"),
        format!("Upgrade: websocket\r\n{key_line}{version}"),
        format!("Upgrade: h2c\r\nConnection: Upgrade\r\n{key_line}{version}"),
        format!("{upgrade}{version}Sec-WebSocket-Key: short\r\n"),
    ];
    for headers in rows {
        let request = format!(
            "GET /api{}?apiKey={key} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n",
            sandbox.path("/pty"),
            server.address()
        );
        let answer = WebSocket::request(server.address(), &request).expect_err(&headers);
        assert!(matches!(answer.status, 400 | 426), "{headers:?}: {}", answer.text);
    }
    assert_eq!(sandbox.sessions().len(), 0);
    let posted =
        server.client().send("POST", &format!("/api{}", sandbox.path("/pty")), &[("X-API-Key", key)], None);
    assert!(matches!(posted.status, 404 | 405), "{}", posted.text());
}

#[test]
fn offers_are_declined_and_all_spellings_taken() {
    let server = Server::start();
    let sandbox = server.create();
    let request = format!(
        "GET /api//{}?apiKey={} HTTP/1.1\r\nHost: {}\r\nupgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n",
        sandbox.path("/pty"),
        server.client().key(),
        server.address()
    );
    let mut socket = WebSocket::request(server.address(), &request).expect("an upgrade");
    assert!(matches!(socket.receive(Duration::from_secs(5)), Some(Message::Data(_))), "a prompt");
}

#[test]
fn bad_offsets_are_400() {
    let server = Server::start();
    let sandbox = server.create();
    let session = sandbox.session(&json!({}));
    let good = format!("?apiKey={}", server.client().key());
    for bad in ["x", "-1", "1.5", "99999999999999999999999"] {
        let path = sandbox.path(&format!("/pty/sessions/{session}"));
        assert_eq!(status(&server, &path, &format!("{good}&from={bad}"), &[]), 400, "{bad}");
    }
}

#[test]
fn the_key_is_in_no_log() {
    let server = Server::start();
    let sandbox = server.create();
    let mut terminal = sandbox.ephemeral();
    let _prompt = terminal.prompt();
    assert!(!server.log_tail().contains(server.client().key()), "{}", server.log_tail());
}
