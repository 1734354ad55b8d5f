//! Who may call: the key in `X-API-Key`, and nothing else.

use crate::UNKNOWN_ID;
use bulkhead_tests::{Answer, Server};
use std::os::unix::fs::MetadataExt;

fn list_with(server: &Server, headers: &[(&str, &str)]) -> Answer {
    server.client().send("GET", "/api/sandboxes", headers, None)
}

#[test]
fn only_the_exact_key_opens() {
    let server = Server::start();
    let key = server.client().key().to_owned();
    let last = key.chars().last().expect("a key has characters");
    let other_end = format!("{}{}", &key[..key.len() - 1], if last == 'A' { 'B' } else { 'A' });
    let wrong = [
        "",
        " ",
        "x",
        &key[..key.len() - 1],
        &format!("{key}A"),
        &other_end,
        &key.to_lowercase(),
        "bh_",
        "null",
    ];
    for candidate in wrong {
        if candidate == key {
            continue;
        }
        let message = list_with(&server, &[("X-API-Key", candidate)]).error(401);
        assert!(!message.contains(&key[..12]), "a key stands in {message}");
    }
    let _body = list_with(&server, &[("x-api-key", &key)]).expect(200).data();
}

#[test]
fn no_other_place_for_a_key_is_read() {
    let server = Server::start();
    let key = server.client().key();
    let client = server.client();
    let _message = list_with(&server, &[]).error(401);
    let _message = list_with(&server, &[("Authorization", &format!("Bearer {key}"))]).error(401);
    let _message = list_with(&server, &[("Cookie", &format!("apiKey={key}"))]).error(401);
    let _message = client.send("GET", &format!("/api/sandboxes?apiKey={key}"), &[], None).error(401);
}

#[test]
fn every_route_but_version_asks_for_a_key() {
    let server = Server::start();
    let client = server.client();
    let id = format!("/api/sandboxes/{UNKNOWN_ID}");
    let exec = format!("{id}/exec");
    let calls = [
        ("POST", "/api/sandboxes"),
        ("GET", "/api/sandboxes"),
        ("GET", &id),
        ("DELETE", &id),
        ("POST", &exec),
    ];
    for (method, path) in calls {
        let body = (method == "POST").then_some("{}");
        let _message = client.send(method, path, &[("Content-Type", "application/json")], body).error(401);
    }
    let version = client.send("GET", "/api/version", &[], None).expect(200).json();
    for field in ["version", "commit", "buildTime"] {
        assert!(version[field].is_string(), "{field} in {version}");
    }
    assert!(version.get("data").is_none(), "version is bare: {version}");
}

#[test]
fn the_first_key_is_for_the_gateway_alone() {
    let server = Server::start();
    let file = server.instance().state.join("api-key");
    let meta = std::fs::metadata(&file).expect("<state-dir>/api-key");
    assert_eq!(meta.mode() & 0o777, 0o600);
    assert_eq!(meta.uid(), server.half("gateway").uid);
    assert_ne!(meta.uid(), 0, "the gateway runs as root");
    let key = server.client().key();
    let (prefix, rest) = key.split_at(3);
    assert_eq!((prefix, rest.len()), ("bh_", 51), "bh_, 8 of the id, 43 of the secret");
    assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "not URL-safe");
}
