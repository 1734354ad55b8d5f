//! Files over HTTP: every parameter, every answer, every refusal (contract §7).

use crate::client::Client;
use crate::files_agent::{CONTENT, MANY};
use crate::world::{World, eventually};
use serde_json::{Value, json};
use std::io::{Read, Write};

fn path(id: &str, rest: &str) -> String {
    format!("/api/sandboxes/{id}/files{rest}")
}

const ER: &str = r#"{"stdout":"","stderr":"","exitCode":0}"#;

#[test]
fn what_changes_files_answers_like_a_command_that_succeeded() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    for (method, call) in [
        ("DELETE", "?path=/root/a"),
        ("POST", "/mkdir?path=/root/a"),
        ("POST", "/create?path=/root/a"),
        ("POST", "/create?path=/root/a&content=x%0Ay"),
        ("POST", "/copy?from=/a&to=/b"),
        ("POST", "/move?from=/a&to=/b"),
        ("POST", "/chmod?path=/a&mode=0755"),
        ("POST", "/chmod?path=/a&mode=644"),
        ("POST", "/compress?path=/a"),
        ("POST", "/compress?path=/a&format=zip"),
        ("POST", "/extract?archive=/a.tar"),
        ("POST", "/extract?archive=/a.tar&dest=/b"),
        ("POST", "/create?path=/root/late"),
    ] {
        let answer = client.send(method, &path(&id, call), b"");
        assert_eq!(answer.status, 200, "{call}: {answer:?}");
        let expected =
            json!({"status": "success", "message": "ok", "data": serde_json::from_str::<Value>(ER).unwrap()});
        assert_eq!(answer.json, expected, "{call}");
    }
    let made = client.post(&path(&id, "/create?path=/root/a"), &json!({"content": "text"}));
    assert_eq!((made.status, &made.json["data"]["exitCode"]), (200, &json!(0)));
}

#[test]
fn every_parameter_is_checked_and_named() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let long = "x".repeat(4100);
    for (method, call, text) in [
        ("DELETE", "", "path: is required"),
        ("DELETE", "?path=", "path: must not be empty"),
        ("POST", "/mkdir?path=a", "path: must be absolute"),
        ("POST", "/mkdir?path=/a%00b", "path: must not contain NUL"),
        ("POST", "/create", "path: is required"),
        ("POST", "/copy?from=/a", "to: is required"),
        ("POST", "/copy?to=/a", "from: is required"),
        ("POST", "/move?from=/a", "to: is required"),
        ("POST", "/chmod?path=/a", "mode: is required"),
        ("POST", "/chmod?path=/a&mode=u%2Bx", "mode: must be three or four octal digits"),
        ("POST", "/chmod?path=/a&mode=99", "mode: must be three or four octal digits"),
        ("GET", "/stat", "path: is required"),
        ("GET", &format!("/stat?path=/{long}"), "path: is longer than 4095 bytes"),
        ("GET", "/search?path=/a", "pattern: is required"),
        ("GET", "/search?pattern=", "pattern: must neither"),
        ("GET", &format!("/search?pattern={}", &long[..1025]), "pattern: is longer than 1024 bytes"),
        ("GET", "/head-tail?path=/a&lines=x", "lines: must be a whole number"),
        ("GET", "/head-tail?path=/a&head=maybe", "head: must be true or false"),
        ("GET", "?depth=x", "depth: must be a whole number"),
        ("GET", "?recursive=2", "recursive: must be true or false"),
        ("POST", "/compress?path=/a&format=rar", "format: must be tar"),
        ("POST", "/extract", "archive: is required"),
        ("GET", "/download", "path: is required"),
        ("GET", "/download?path=/a&format=zip", "format: must be tar"),
        ("POST", "/upload", "path: is required"),
        ("POST", "/upload?path=/a&format=zip", "format: must be tar"),
        ("POST", "/watch", "path: is required"),
    ] {
        let answer = client.send(method, &path(&id, call), b"");
        assert_eq!(answer.status, 400, "{call}: {answer:?}");
        assert!(answer.error().starts_with(text), "{call}: {answer:?}");
    }
    for body in [
        json!({"path": 1}),
        json!({"path": "/a", "recursive": "yes"}),
        json!({"path": "/a", "ignoreHidden": 1}),
    ] {
        assert_eq!(client.post(&path(&id, "/watch"), &body).status, 400, "{body}");
    }
    let content = client.post(&path(&id, "/create?path=/a"), &json!({"content": 1}));
    assert_eq!((content.status, content.error()), (400, "content: must be a string"));
}

#[test]
fn what_fails_has_a_status_and_names_its_parameter() {
    let world = World::new();
    let client = world.client();
    for (name, status, text) in [
        ("not_found", 404, "path: no such file or directory"),
        ("not_directory", 400, "path: is not a directory"),
        ("is_directory", 400, "path: is a directory"),
        ("denied", 403, "path: permission denied"),
        ("exists", 409, "path: something else is in the way"),
        ("read_only", 403, "path: is on a file system"),
        ("no_space", 507, "path: the disk is full"),
        ("bad_path", 400, "path: has a name that is too long"),
        ("special", 400, "path: is a device"),
        ("impossible", 400, "path: this cannot be done with it"),
        ("bounds", 400, "path: has too many entries"),
        ("resources", 429, "path: the sandbox is at its limits"),
        ("internal", 502, "the sandbox's agent failed"),
        ("full", 507, "path: the disk is full"),
        ("refused", 429, "execution limit reached"),
        ("garbage", 502, "the sandbox's agent failed"),
        ("no-head", 502, "the sandbox's agent failed"),
        ("bad-end", 502, "the sandbox's agent failed"),
        ("cut", 502, "the sandbox's agent failed"),
    ] {
        let id = world.sandbox("code");
        for (method, call) in [("GET", "/du"), ("POST", "/mkdir")] {
            let answer = client.send(method, &path(&id, &format!("{call}?path=/root/{name}")), b"");
            assert_eq!(answer.status, status, "{call} {name}: {answer:?}");
            assert!(answer.error().starts_with(text), "{call} {name}: {answer:?}");
        }
    }
    let id = world.sandbox("code");
    let answer = client.send("POST", &path(&id, "/move?from=/exists&to=/b"), b"");
    assert_eq!((answer.status, answer.error()), (409, "to: something else is in the way"));
    let answer = client.send("POST", &path(&id, "/extract?archive=/hostile"), b"");
    assert!(answer.status == 400 && answer.error().starts_with("archive: "), "{answer:?}");
    assert_eq!(client.get(&path("x", "?path=/")).status, 404);
    let metrics = world.scrape();
    assert!(metrics.contains("agent_faults_total{kind=\"malformed\"}"), "{metrics}");
}

#[test]
fn what_looks_at_files_answers_in_the_contracts_form() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let stdout = |call: &str| {
        let answer = client.get(&path(&id, call));
        assert_eq!(answer.status, 200, "{call}: {answer:?}");
        answer.json["data"]["stdout"].as_str().unwrap().to_owned()
    };
    let stat: Value = serde_json::from_str(&stdout("/stat?path=/a%22%0A%FF")).unwrap();
    assert_eq!(
        stat,
        json!({"path": "/a\"\n\u{fffd}", "pathBase64": "L2EiCv8=", "size": 7, "mode": "81a4", "mtime": 1,
            "type": "regular file", "uid": 0, "gid": 0})
    );
    assert_eq!(stdout("/du"), "12M\t/root\n");
    assert_eq!(stdout("/du?path=/a+b"), "12M\t/a+b\n");
    assert_eq!(stdout("/search?pattern=*.txt"), "/root/a b\n/root/\u{fffd}\n");
    for (call, lines, end) in [
        ("/head-tail?path=/a", 10, "Head"),
        ("/head-tail?path=/a&lines=0&head=False", 1, "Tail"),
        ("/head-tail?path=/a&lines=99999&head=TRUE", 10_000, "Head"),
        ("/head-tail?path=/a&lines=7&head=false", 7, "Tail"),
    ] {
        let text = stdout(call);
        assert!(text.contains(&format!("lines: {lines}, end: {end}")), "{call}: {text}");
    }
    let list = client.get(&path(&id, ""));
    assert_eq!(list.json["data"]["success"], true);
    let expected = json!({"name": "0", "path": "/root/0", "size": 7, "mode": "0644", "isDir": false,
        "modTime": "1970-01-01T00:00:01Z"});
    assert_eq!(list.json["data"]["files"][0], expected);
    assert_eq!(list.json["data"]["files"][2]["name"], "2\u{fffd}\"\n");
    assert!(list.json["data"]["files"][2]["pathBase64"].is_string());
    let many = client.get(&path(&id, "?path=/many&recursive=true"));
    assert_eq!(many.json["data"]["files"].as_array().map(Vec::len), Some(MANY));
}

/// Sends a request and reads all that comes.
fn raw(client: &Client, text: &[u8]) -> Vec<u8> {
    let mut stream = client.connect();
    stream.write_all(text).unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap_or_default();
    all
}

#[test]
fn a_download_is_exact_and_cannot_be_a_page() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let whole = client.get(&path(&id, "/download?path=/a/b%22%0D%0AX-Evil:%20y.html"));
    let head = whole.head.to_ascii_lowercase();
    assert_eq!((whole.status, whole.text.as_bytes()), (200, CONTENT));
    for header in [
        "content-type: application/octet-stream",
        "content-length: 10",
        "content-disposition: attachment; filename=\"b___x-evil: y.html\"; filename*=utf-8''b%22%0d%0ax-evil%3a%20y.html",
        "content-security-policy: sandbox",
        "x-content-type-options: nosniff",
        "accept-ranges: bytes",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=5-", 206, "bytes 5-9/10", "56789"),
        ("bytes=5-100", 206, "bytes 5-9/10", "56789"),
        ("bytes=-3", 206, "bytes 7-9/10", "789"),
        ("bytes=-30", 206, "bytes 0-9/10", "0123456789"),
        ("bytes=0-1,3-4", 200, "", "0123456789"),
        ("bytes=x", 200, "", "0123456789"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("bytes=-0", 416, "bytes */10", ""),
    ] {
        let answer = client.clone().with("Range", range).get(&path(&id, "/download?path=/a"));
        assert_eq!(answer.status, status, "{range}: {answer:?}");
        let head = answer.head.to_ascii_lowercase();
        assert!(
            content_range.is_empty() || head.contains(&format!("content-range: {content_range}")),
            "{head}"
        );
        assert!(status == 416 || answer.text == body, "{range}: {answer:?}");
    }
    let tree = client.get(&path(&id, "/download?path=/a/dir&format=tar"));
    assert_eq!((tree.status, tree.text.as_str()), (200, "a tar stream"));
    assert!(tree.head.contains("filename=\"dir.tar\""), "{}", tree.head);
    assert_eq!(client.get(&path(&id, "/download?path=/is_directory")).status, 400);
}

#[test]
fn an_answer_that_breaks_off_is_seen_to_be_incomplete() {
    let world = World::new();
    let client = world.client();
    for name in ["cut", "fails", "short", "long"] {
        let id = world.sandbox("code");
        let bytes = raw(&client, &client.text("GET", &path(&id, &format!("/download?path=/{name}")), b""));
        let text = String::from_utf8(bytes).unwrap();
        // What breaks off at once has not even sent its head.
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-length: 10"), "{name}: {head}");
        assert!(body.len() < 10, "{name}: {body}");
    }
    for name in ["cut", "fails", "bad-line", "long-line"] {
        let id = world.sandbox("code");
        let bytes = raw(&client, &client.text("GET", &path(&id, &format!("?path=/{name}")), b""));
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 200 "), "{name}: {text}");
        assert!(!text.ends_with("0\r\n\r\n"), "{name}: {text}");
    }
}

#[test]
fn a_client_that_stops_reading_stops_its_worker_and_fills_no_memory() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", world.pid())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    let request = client.text("GET", &path(&id, "/download?path=/endless"), b"");
    let mut streams: Vec<_> = (0..50).map(|_| client.connect()).collect();
    for stream in &mut streams {
        stream.write_all(&request).unwrap();
        stream.read_exact(&mut [0; 100_000]).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes for 50 downloads");
    assert!(world.scrape().contains("bulkhead_gateway_streams 50"));
    drop(streams);
    eventually("the workers are left", || world.scrape().contains("bulkhead_gateway_streams 0"));
}
