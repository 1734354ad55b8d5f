//! A key that ends takes everything with it that goes on under it, within five seconds.

use crate::client::Client;
use crate::keys::tenant;
use crate::pty_socket::Socket;
use crate::world::{World, eventually};
use bulkhead_gateway::admin::client as admin;
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn open(client: &Client, path: &str, command: &str) -> TcpStream {
    let mut stream = client.connect();
    let body = json!({"command": command, "timeout": 100}).to_string();
    stream.write_all(&client.text("POST", path, body.as_bytes())).unwrap();
    stream
}

/// Whether the connection has ended, with however much before its end.
fn ended(stream: &mut TcpStream) -> bool {
    stream.set_read_timeout(Some(Duration::from_millis(10))).unwrap();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

#[test]
fn streams_waits_and_sockets_end_with_their_key() {
    let world = World::new();
    let (first, second) = (tenant(&world, "acme", &[]), tenant(&world, "acme", &[]));
    let id =
        first.post("/api/sandboxes", &json!({"name": "x"})).json["data"]["id"].as_str().unwrap().to_owned();
    let path = |tail: &str| format!("/api/sandboxes/{id}/{tail}");
    let mut waits = open(&first, &path("exec"), "hang");
    let mut streams = open(&first, &path("exec-stream"), "hang");
    let mut other = open(&second, &path("exec-stream"), "hang");
    let body = json!({"name": "x", "image": "tty"});
    let tty = first.post("/api/sandboxes", &body).json["data"]["id"].as_str().unwrap().to_owned();
    let mut socket = Socket::open(&first, &format!("/api/sandboxes/{tty}/pty")).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    for stream in [&mut waits, &mut streams, &mut socket.stream, &mut other] {
        assert!(!ended(stream));
    }
    let keys = second.get("/api/orgs/apikeys").json;
    let key = keys.as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    assert_eq!(second.delete(&format!("/api/orgs/apikeys/{key}")).status, 200);
    let start = Instant::now();
    eventually("all of them end", || ended(&mut waits) && ended(&mut streams) && ended(&mut socket.stream));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(!ended(&mut other), "another key's stream goes on");
    assert_eq!(second.get("/api/sandboxes").json["meta"]["total"], 2);
}

#[test]
fn a_key_that_is_switched_off_revoked_or_expires_ends_too() {
    let world = World::new();
    let run_dir = world.run_dir();
    let keeper = tenant(&world, "acme", &[]);
    let id =
        keeper.post("/api/sandboxes", &json!({"name": "x"})).json["data"]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/sandboxes/{id}/exec-stream");
    let made = |more: serde_json::Value| {
        let mut body = json!({"keyName": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = keeper.post("/api/orgs/apikeys", &body).json;
        let client = world.stranger().with("X-API-Key", made["plainKey"].as_str().unwrap());
        (open(&client, &path, "hang"), made["keyId"].as_str().unwrap().to_owned())
    };
    let (mut off, off_id) = made(json!({}));
    let (mut revoked, revoked_id) = made(json!({}));
    let (mut expires, _) = made(json!({"expiresInSeconds": 2}));
    std::thread::sleep(Duration::from_millis(300));
    let body = json!({"isActive": true});
    assert_eq!(keeper.post(&format!("/api/orgs/apikeys/{off_id}/activate"), &body).status, 200);
    std::thread::sleep(Duration::from_secs(1));
    assert!(!ended(&mut off), "it was on already");
    let body = json!({"isActive": false});
    assert_eq!(keeper.post(&format!("/api/orgs/apikeys/{off_id}/activate"), &body).status, 200);
    admin::revoke_key(&run_dir, &revoked_id).unwrap();
    let start = Instant::now();
    eventually("all of them end", || ended(&mut off) && ended(&mut revoked) && ended(&mut expires));
    assert!(start.elapsed() < Duration::from_secs(7));
}

#[test]
fn the_request_that_deletes_its_own_key_is_answered() {
    let world = World::new();
    let client = tenant(&world, "acme", &["keys"]);
    let id = client.get("/api/orgs/apikeys").json[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.delete(&format!("/api/orgs/apikeys/{id}")).status, 200);
    assert_eq!(client.get("/api/users/me").status, 401);
}
