//! A key that ends takes with it what goes on under it. That this is within five seconds follows from the limits of the
//! gateway, which are compared where they stand; here everybody may be late, and nothing ends by itself meanwhile.

use crate::{operator, tenant};
use bulkhead_tests::eventually::{eventually, patience};
use bulkhead_tests::sandbox::Sandbox;
use bulkhead_tests::streaming::Streaming;
use bulkhead_tests::websocket::{Message, WebSocket};
use bulkhead_tests::{Client, Server};
use serde_json::json;
use std::time::Instant;

fn open(client: &Client, sandbox: &Sandbox<'_>, rest: &str) -> Streaming {
    let body = json!({"command": "echo begun; sleep 200", "timeout": 200});
    let mut stream = Streaming::post(client, &sandbox.path(rest), &[], &body);
    assert_eq!(stream.status, 200, "{}", stream.head);
    assert!(!stream.read().is_empty());
    stream
}

#[test]
fn t04_streams_and_sockets_of_a_revoked_key_are_closed() {
    let server = Server::start();
    let sandbox = server.create();
    let made = server.client().post("/orgs/apikeys", &json!({"keyName": "x"})).expect(200).json();
    let second = server.client().with_key(made["plainKey"].as_str().expect("a key"));
    let stream = open(&second, &sandbox, "/exec-stream");
    let other = open(server.client(), &sandbox, "/exec-stream");
    let target = format!("/api{}?apiKey={}", sandbox.path("/pty"), second.key());
    let mut socket = WebSocket::connect(server.address(), &target, &[]).expect("an upgrade");
    std::thread::scope(|scope| {
        let path = sandbox.path("/exec");
        let waits = scope.spawn(move || {
            let body = json!({"command": "sleep 200", "timeout": 200}).to_string();
            let headers = [("X-API-Key", second.key()), ("Content-Type", "application/json")];
            let answer = second.try_send("POST", &format!("/api{path}"), &headers, Some(&body));
            (answer.is_err(), Instant::now())
        });
        eventually("all three commands run", || {
            let run = sandbox.exec("pgrep -c sleep");
            if run.line() == "3" { Ok(()) } else { Err(run.stdout) }
        });
        let _nothing = operator(&server, &["key", "revoke", made["keyId"].as_str().expect("an id")]);
        let (revoked, bar) = (Instant::now(), patience());
        let end = socket.end(bar);
        assert!(matches!(&end, Message::Close(1008, reason) if reason.contains("key")), "{end:?}");
        assert!(stream.is_cut(bar), "the stream goes on");
        let (is_cut, at) = waits.join().expect("an end");
        let time = at.saturating_duration_since(revoked);
        assert!(is_cut && time < bar, "{is_cut} {time:?}");
    });
    let running = sandbox.exec("pgrep -c sleep").stdout;
    assert_eq!(running.trim(), "1", "the commands of the revoked key have ended, the other goes on");
    other.cut();
    let _list = server.client().get("/sandboxes").expect(200);
    let _other = tenant(&server, "other");
}
