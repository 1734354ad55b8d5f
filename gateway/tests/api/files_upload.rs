//! Uploads: whatever the body is, and every way in which it can end.

use crate::client::{Answer, Client};
use crate::world::{World, eventually};
use serde_json::json;
use std::io::{Read, Write};
use std::net::TcpStream;

fn path(id: &str, rest: &str) -> String {
    format!("/api/sandboxes/{id}/files/upload?path=/root/{rest}")
}

/// The head of an upload with these headers.
fn head(client: &Client, path: &str, headers: &str) -> Vec<u8> {
    let text = String::from_utf8(client.text("POST", path, b"")).unwrap();
    text.replace("Content-Length: 0\r\n", headers).into_bytes()
}

fn rest(mut stream: TcpStream) -> Answer {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    Answer::parse(&all)
}

#[test]
fn every_body_is_the_file_whatever_it_says_it_is() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let big = vec![b'x'; 8 << 20];
    for kind in ["application/octet-stream", "text/plain; charset=utf-8", "application/json", "image/png"] {
        let answer = client.clone().with("Content-Type", kind).send("POST", &path(&id, "a"), &big);
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
        assert_eq!(answer.json["data"], json!({"size": 8 << 20}), "{kind}");
        assert_eq!(answer.json["status"], "success");
    }
    assert_eq!(client.send("POST", &path(&id, "a"), b"").json["data"]["size"], 0);
    let mut stream = client.connect();
    stream.write_all(&head(&client, &path(&id, "a"), "Transfer-Encoding: chunked\r\n")).unwrap();
    stream.write_all(b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n").unwrap();
    assert_eq!(rest(stream).json["data"]["size"], 11);
    let tree = client.send("POST", &path(&id, "a&format=tar"), b"tar");
    assert_eq!(tree.json["data"]["size"], 3);
}

#[test]
fn the_file_of_a_form_is_taken_out() {
    let world = World::new();
    let id = world.sandbox("code");
    let form = world.client().with("Content-Type", "multipart/form-data; boundary=xyz");
    let body = |name: &str| {
        format!(
            "--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n{}\r\n--xyz--\r\n",
            "12345678".repeat(100_000)
        )
    };
    let answer = form.send("POST", &path(&id, "a"), body("file").as_bytes());
    assert_eq!((answer.status, &answer.json["data"]["size"]), (200, &json!(800_000)));
    let other = form.send("POST", &path(&id, "a"), body("other").as_bytes());
    assert_eq!((other.status, other.error()), (400, "file: is required"));
    let text = body("file");
    let half = form.send("POST", &path(&id, "a"), &text.as_bytes()[..text.len() / 2]);
    assert_eq!(half.status, 400, "{half:?}");
}

#[test]
fn one_that_is_too_long_is_refused_before_it_is_read() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let length = (5_u64 << 30) + 1;
    let mut stream = client.connect();
    let headers = format!("Content-Length: {length}\r\nExpect: 100-continue\r\n");
    stream.write_all(&head(&client, &path(&id, "a"), &headers)).unwrap();
    let answer = rest(stream);
    assert_eq!(answer.status, 413, "{answer:?}");
    assert!(answer.error().starts_with("body: is longer than"), "{answer:?}");
    let mut stream = client.connect();
    stream
        .write_all(&head(&client, &path(&id, "not_found"), "Content-Length: 5\r\nExpect: 100-continue\r\n"))
        .unwrap();
    let answer = rest(stream);
    assert_eq!(answer.status, 404, "no 100 before the refusal: {answer:?}");
    let mut stream = client.connect();
    stream
        .write_all(&head(&client, &path(&id, "a"), "Content-Length: 5\r\nExpect: 100-continue\r\n"))
        .unwrap();
    let mut interim = [0; 25];
    stream.read_exact(&mut interim).unwrap();
    assert!(interim.starts_with(b"HTTP/1.1 100 Continue\r\n\r\n"), "{interim:?}");
    stream.write_all(b"hello").unwrap();
    assert_eq!(rest(stream).json["data"]["size"], 5);
}

#[test]
fn a_refusal_reaches_a_client_that_is_still_writing() {
    let world = World::new();
    let client = world.client();
    let body = vec![b'x'; 16 << 20];
    for (name, status) in [("denied", 403), ("full", 507), ("too_large", 413), ("garbage", 502)] {
        let id = world.sandbox("code");
        let answer = client.send("POST", &path(&id, name), &body);
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
    assert_eq!(client.send("POST", &path("x", "a"), &body).status, 404);
}

#[test]
fn a_client_that_leaves_leaves_no_worker() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = client.connect();
        stream.write_all(&head(&client, &path(&id, "a"), "Content-Length: 1000000\r\n")).unwrap();
        stream.write_all(&[b'x'; 1000]).unwrap();
        streams.push(stream);
    }
    eventually("the workers run", || world.scrape().contains("bulkhead_gateway_streams 20"));
    drop(streams);
    eventually("the workers are left", || world.scrape().contains("bulkhead_gateway_streams 0"));
    assert_eq!(world.status(&id), "running");
    assert!(!world.scrape().contains("agent_faults_total{"), "{}", world.scrape());
}
