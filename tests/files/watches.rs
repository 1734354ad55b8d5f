//! Watches: what happens comes, in order, or is known to be missing.

use crate::path;
use bulkhead_tests::websocket::{Message, WebSocket};
use bulkhead_tests::{Sandbox, Server};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An event that does not come within this time is lost.
const PATIENCE: Duration = Duration::from_secs(20);

fn watch(sandbox: &Sandbox<'_>, body: &Value) -> WebSocket {
    let answer = sandbox.client().post(&path(sandbox, "/watch"), body).expect(200);
    let sid = answer.data()["sessionId"].as_str().expect("an id").to_owned();
    // What happens before the socket is there comes as well.
    let _made = sandbox.exec("echo early > /root/w/early").ok();
    let target =
        format!("/api{}?apiKey={}", path(sandbox, &format!("/watch/{sid}/stream")), sandbox.client().key());
    WebSocket::connect(sandbox.client().address(), &target, &[]).expect("an upgrade")
}

/// Events until one is the wanted one.
fn until(socket: &mut WebSocket, kind: &str, name: &str) -> Vec<Value> {
    let (end, mut all) = (Instant::now() + PATIENCE, Vec::new());
    while Instant::now() < end {
        if let Some(Message::Text(text)) = socket.receive(Duration::from_secs(1)) {
            let event: Value = serde_json::from_str(&text).expect("JSON");
            let found = event["type"] == kind && event["path"] == name;
            all.push(event);
            if found {
                return all;
            }
        }
    }
    panic!("no {kind} of {name} among {all:?}");
}

#[test]
fn everything_that_happens_is_told() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox.exec("mkdir /root/w").ok();
    let mut socket = watch(&sandbox, &json!({"path": "/root/w", "recursive": true, "ignoreHidden": true}));
    until(&mut socket, "created", "/root/w/early");
    let _done = sandbox.exec("mkdir -p /root/w/d/e; echo .h > /root/w/.hidden; echo x > /root/w/d/e/f").ok();
    let seen = until(&mut socket, "created", "/root/w/d/e/f");
    assert!(seen.iter().all(|event| event["path"] != "/root/w/.hidden"), "{seen:?}");
    let _done = sandbox.exec("echo y >> /root/w/d/e/f").ok();
    until(&mut socket, "modified", "/root/w/d/e/f");
    let _done = sandbox.exec("chmod 600 /root/w/d/e/f; mv /root/w/d/e/f /root/w/g; rm /root/w/g").ok();
    until(&mut socket, "chmod", "/root/w/d/e/f");
    let renamed = until(&mut socket, "renamed", "/root/w/g");
    assert_eq!(renamed.last().expect("one")["oldPath"], "/root/w/d/e/f");
    until(&mut socket, "deleted", "/root/w/g");
    let _done = sandbox.exec("rm -r /root/w").ok();
    assert!(matches!(socket.end(PATIENCE), Message::Close(1000, _)));
}

#[test]
fn ten_thousand_events_come_or_an_overflow_says_so() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox.exec("mkdir /root/w").ok();
    let mut socket = watch(&sandbox, &json!({"path": "/root/w"}));
    let _done = sandbox
        .exec("cd /root/w; python3 -c 'for i in range(10000): open(str(i), \"w\").close()'; : > last")
        .ok();
    let (end, mut created, mut overflow) =
        (Instant::now() + PATIENCE, std::collections::BTreeSet::new(), false);
    while !overflow && created.len() < 10_000 && Instant::now() < end {
        if let Some(Message::Text(text)) = socket.receive(Duration::from_secs(1)) {
            let event: Value = serde_json::from_str(&text).expect("JSON");
            overflow |= event["type"] == "overflow";
            let name = event["path"]
                .as_str()
                .expect("a path")
                .rsplit('/')
                .next()
                .and_then(|n| n.parse::<u32>().ok());
            if event["type"] == "created" {
                created.extend(name);
            }
        }
    }
    assert!(overflow || created.len() == 10_000, "{} files were told of", created.len());
}

#[test]
fn a_sandbox_that_goes_ends_its_watches() {
    let server = Server::start();
    let sandbox = server.create();
    let _made = sandbox.exec("mkdir /root/w").ok();
    let mut socket = watch(&sandbox, &json!({"path": "/root/w"}));
    sandbox.delete();
    assert!(matches!(socket.end(PATIENCE), Message::Close(1000, _)));
}
