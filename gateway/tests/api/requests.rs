//! Requests that are wrong, and what every answer has in common.

use crate::world::World;
use bulkhead_protocol::agent::{AGENT_PROTOCOL, OLDEST_AGENT_PROTOCOL};
use bulkhead_protocol::runtime::RUNTIME_PROTOCOL;
use serde_json::json;

#[test]
fn answers_have_an_envelope_an_id_and_a_type() {
    let world = World::new();
    let client = world.client();
    let stranger = world.stranger();
    let version = stranger.get("/api/version");
    assert_eq!(version.status, 200);
    assert!(["version", "commit", "buildTime"].iter().all(|name| version.json[*name].is_string()));
    let protocols =
        json!({"agent": AGENT_PROTOCOL, "oldestAgent": OLDEST_AGENT_PROTOCOL, "runtime": RUNTIME_PROTOCOL});
    assert_eq!(version.json["protocols"], protocols);
    assert_eq!(stranger.get("/api/openapi.json").json["servers"][0]["url"], "/api");
    assert_eq!(stranger.get("/healthz").json, json!({"status": "ok"}));
    for (method, path, status) in [
        ("GET", "/api/nothing", 404),
        ("GET", "/api/v1/../sandboxes", 404),
        ("POST", "/api/sandboxes/x/exec-stream", 404),
        ("PUT", "/api/sandboxes", 405),
        ("OPTIONS", "/api/sandboxes", 405),
        ("TRACE", "/api/version", 405),
        ("GET", "/api/sandboxes/x/exec", 405),
        ("GET", "/api/sandboxes/..%2f..%2fetc", 404),
        ("GET", "/api/sandboxes/cgroup.procs", 404),
        ("GET", "/api/sandboxes?limit=x", 400),
    ] {
        let answer = client.send(method, path, b"");
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(!answer.error().is_empty(), "{method} {path}: {answer:?}");
        let head = answer.head.to_ascii_lowercase();
        for part in ["x-request-id: ", "x-content-type-options: nosniff", "content-type: application/json"] {
            assert!(head.contains(part), "{method} {path}: {head}");
        }
        assert_eq!(head.contains("allow: "), status == 405);
    }
    assert_eq!(client.send("HEAD", "/api/sandboxes", b"").status, 405);
}

#[test]
fn without_a_good_key_nothing_is_read() {
    let world = World::new();
    let stranger = world.stranger();
    let key = &world.key;
    let bad = [
        stranger.clone(),
        stranger.clone().with("X-API-Key", ""),
        stranger.clone().with("X-API-Key", "x"),
        stranger.clone().with("X-API-Key", &key[..53]),
        stranger.clone().with("X-API-Key", &format!("{key}x")),
        stranger.clone().with("X-API-Key", key).with("X-API-Key", key),
        stranger.clone().with("Authorization", &format!("Bearer {key}")),
    ];
    for client in bad {
        for path in ["/api/sandboxes", "/api/sandboxes/x/exec"] {
            let answer = client.send("POST", path, b"{");
            assert_eq!(answer.status, 401, "{answer:?}");
            assert!(answer.error().contains("API"), "{answer:?}");
        }
    }
    assert_eq!(stranger.get(&format!("/api/sandboxes?apiKey={key}")).status, 401);
    assert!(!world.log().contains(key));
}

#[test]
fn bodies_are_bounded_and_refused_by_name() {
    let world = World::new();
    let client = world.client();
    let path = "/api/sandboxes";
    let long = vec![b' '; (2 << 20) + 1];
    assert_eq!(client.send("POST", path, &long).status, 413);
    let chunked = client.clone().with("Transfer-Encoding", "chunked");
    let text = chunked.text("POST", path, b"");
    let text = String::from_utf8(text).unwrap().replace("Content-Length: 0\r\n", "");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(format!("{:x}\r\n", long.len()).as_bytes());
    bytes.extend_from_slice(&long[..2 << 20]);
    bytes.push(b' ');
    assert_eq!(client.raw(&bytes).status, 413);
    let both = client.clone().with("Transfer-Encoding", "chunked").send("POST", path, b"0\r\n\r\n");
    assert_eq!(both.status, 400);
    for (body, text) in [
        (&b""[..], "name: is required"),
        (b"[]", "body: "),
        (b"{", "body: "),
        (br#"{"name":"a","name":"b"}"#, "name: appears twice"),
        (b"{\"name\":\"\xff\"}", "body: is not valid UTF-8"),
        (br#"{"name":"A"}"#, "name: "),
        (br#"{"name":"a","cpu":"1"}"#, "cpu: must be an integer from 1 to 8"),
        (br#"{"name":"a","limits":{"disk":1}}"#, "limits.disk: "),
    ] {
        let answer = client.send("POST", path, body);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.error().starts_with(text), "{answer:?}");
    }
    assert!(world.runtime.created().is_empty());
}

#[test]
fn malformed_http_is_refused() {
    let world = World::new();
    let client = world.client();
    let key = &world.key;
    for (bytes, status) in [
        (format!("GET /api/sandboxes HTTP/1.1\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"), 400),
        (
            format!(
                "GET /api/sandboxes HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n"
            ),
            400,
        ),
        (format!("GET /api/version HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(100_000)), 431),
        (format!("GET /api/version HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(1000)), 431),
        ("GET /api/version HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n".to_owned(), 400),
        ("no http at all\r\n\r\n".to_owned(), 400),
    ] {
        let answer = client.raw(bytes.as_bytes());
        assert_eq!(answer.status, status, "{}", &bytes[..60.min(bytes.len())]);
    }
}

#[test]
fn a_connection_ends_with_a_key_that_is_refused() {
    let world = World::new();
    let stranger = world.stranger();
    let ask = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: t\r\n\r\n");
    // Without a key one may ask twice; then the refusal ends it, though the client would go on.
    let asked = [ask("/api/version"), ask("/api/version"), ask("/api/sandboxes")].concat();
    let mut stream = stranger.connect();
    std::io::Write::write_all(&mut stream, asked.as_bytes()).unwrap();
    let (start, mut answers) = (std::time::Instant::now(), String::new());
    std::io::Read::read_to_string(&mut stream, &mut answers).unwrap();
    assert!(start.elapsed().as_secs() < 5, "it was idle until its time was over");
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2);
    assert!(answers.contains("HTTP/1.1 401") && answers.contains("connection: close"), "{answers}");
}
