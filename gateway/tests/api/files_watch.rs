//! Watches: collected from the POST on, told over one WebSocket (contract §7.5).

use crate::pty_socket::{PING, Socket, TEXT};
use crate::world::{World, eventually};
use serde_json::{Value, json};

fn start(world: &World, id: &str, path: &str) -> String {
    let body = json!({"path": path, "recursive": true, "ignoreHidden": true});
    let answer = world.client().post(&format!("/api/sandboxes/{id}/files/watch"), &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json["data"]["sessionId"].as_str().unwrap().to_owned()
}

fn stream(id: &str, sid: &str) -> String {
    format!("/api/sandboxes/{id}/files/watch/{sid}/stream")
}

fn next(socket: &mut Socket) -> Value {
    loop {
        match socket.next().unwrap() {
            (TEXT, text) => return serde_json::from_slice(&text).unwrap(),
            (PING, _) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn events_wait_for_their_client_and_come_one_by_one() {
    let world = World::new();
    let id = world.sandbox("code");
    let sid = start(&world, &id, "/root");
    assert_eq!((sid.len(), sid.as_bytes()[14]), (36, b'4'));
    let path = format!("{}?apiKey={}", stream(&id, &sid), world.key);
    let mut socket = Socket::open(&world.stranger(), &path).unwrap_or_else(|answer| panic!("{answer:?}"));
    let created = json!({"type": "created", "path": "/root/a", "timestamp": "1970-01-01T00:00:01Z"});
    assert_eq!(next(&mut socket), created);
    let renamed =
        json!({"type": "renamed", "path": "/root/b", "oldPath": "/old", "timestamp": "1970-01-01T00:00:01Z"});
    assert_eq!(next(&mut socket), renamed);
    // It has nothing to say, and nothing happens.
    socket.send(TEXT, b"hello");
    assert!(Socket::open(&world.client(), &stream(&id, &sid)).is_err_and(|answer| answer.status == 404));
    assert!(world.scrape().contains("bulkhead_gateway_streams 1"));
    drop(socket);
    eventually("the worker ends with its socket", || world.scrape().contains("bulkhead_gateway_streams 0"));
}

#[test]
fn a_burst_comes_whole() {
    let world = World::new();
    let id = world.sandbox("code");
    let sid = start(&world, &id, "/burst");
    let mut socket = Socket::open(&world.client(), &stream(&id, &sid)).map_err(|_| "refused").unwrap();
    for _ in 0..2 {
        next(&mut socket);
    }
    for number in 0..10_000 {
        assert_eq!(next(&mut socket)["path"], format!("/burst/{number}"));
    }
}

#[test]
fn what_is_gone_ends_its_watch_in_an_ordinary_way() {
    let world = World::new();
    let id = world.sandbox("code");
    let sid = start(&world, &id, "/gone");
    let mut socket = Socket::open(&world.client(), &stream(&id, &sid)).map_err(|_| "refused").unwrap();
    assert_eq!(socket.closed().0, 1000);
    let sid = start(&world, &id, "/root");
    let mut socket = Socket::open(&world.client(), &stream(&id, &sid)).map_err(|_| "refused").unwrap();
    let waiting = start(&world, &id, "/root");
    next(&mut socket);
    assert_eq!(world.client().delete(&format!("/api/sandboxes/{id}")).status, 200);
    assert_eq!(socket.closed().0, 1000);
    assert!(Socket::open(&world.client(), &stream(&id, &waiting)).is_err_and(|answer| answer.status == 404));
    eventually("nothing is kept", || world.scrape().contains("bulkhead_gateway_streams 0"));
    let liar = world.sandbox("code");
    let sid = start(&world, &liar, "/bad-line");
    let mut socket = Socket::open(&world.client(), &stream(&liar, &sid)).map_err(|_| "refused").unwrap();
    assert_eq!(socket.closed().0, 1011);
}

#[test]
fn a_watch_is_its_sandboxs_and_few() {
    let world = World::new();
    let (id, other) = (world.sandbox("code"), world.sandbox("code"));
    let client = world.client();
    let sid = start(&world, &id, "/root");
    for path in [stream(&other, &sid), stream(&id, "x"), stream("x", &sid)] {
        assert!(Socket::open(&client, &path).is_err_and(|answer| answer.status == 404), "{path}");
    }
    assert!(Socket::open(&world.stranger(), &stream(&id, &sid)).is_err_and(|answer| answer.status == 401));
    assert_eq!(client.get(&stream(&id, &sid)).status, 426);
    let missing = client.post(&format!("/api/sandboxes/{id}/files/watch"), &json!({"path": "/not_found"}));
    assert_eq!((missing.status, missing.error()), (404, "path: no such file or directory"));
    for _ in 1..16 {
        start(&world, &id, "/root");
    }
    let more = client.post(&format!("/api/sandboxes/{id}/files/watch"), &json!({"path": "/root"}));
    assert_eq!(more.status, 429, "{more:?}");
    start(&world, &other, "/root");
}
