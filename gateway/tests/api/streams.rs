//! exec-stream: the form of its events, its ends, clients that leave or stop reading.

use crate::client::Client;
use crate::world::{World, descriptors, eventually};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

fn path(id: &str) -> String {
    format!("/api/sandboxes/{id}/exec-stream")
}

/// A stream whose answer nobody has read yet.
fn open(client: &Client, path: &str, body: &Value) -> TcpStream {
    let mut stream = client.connect();
    // What the kernel keeps for a client that does not read: left to itself it grows for seconds, up to 6 MiB.
    nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::RcvBuf, &(64 << 10)).unwrap();
    stream.write_all(&client.text("POST", path, body.to_string().as_bytes())).unwrap();
    stream
}

/// Reads until `text` has come.
fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(text) {
        let count = stream.read(&mut buffer).unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// The data of the last event, which must be `exit`.
pub(crate) fn exit(text: &str) -> Value {
    let (_, last) = text.rsplit_once("event:exit\ndata:").unwrap_or_else(|| panic!("no exit: {text:?}"));
    let (data, id) = last.split_once('\n').unwrap();
    assert!(id.starts_with("id:") && id.ends_with("\n\n"), "{text:?}");
    serde_json::from_str(data).unwrap()
}

#[test]
fn events_have_the_form_of_the_contract() {
    let world = World::new();
    let id = world.sandbox("code");
    let answer = world.client().post(&path(&id), &json!({"command": "lines", "env": null, "cwd": null}));
    assert_eq!(answer.status, 200);
    let head = answer.head.to_ascii_lowercase();
    for header in [
        "content-type: text/event-stream",
        "cache-control: no-cache",
        "x-accel-buffering: no",
        "x-execution-pid: 1048577",
    ] {
        assert!(head.contains(header), "{header} is not in {head}");
    }
    let expected = "event:stdout\ndata:one\ndata:  two\ndata:\nid:10\n\n\
        event:stdout\ndata:partial\ndata:\nid:18\n\n\
        event:stdout\ndata:\ndata:\nid:19\n\n\
        event:stderr\ndata:data: forged\ndata:\ndata:event:exit\ndata:\nid:44\n\n\
        event:stdout\ndata:no end\nid:50\n\n\
        event:exit\ndata:{\"exitCode\":3,\"end\":{\"kind\":\"exited\",\"code\":3},\
        \"usage\":{\"cpuMs\":2,\"wallMs\":3,\"peakMemoryBytes\":null}}\nid:50\n\n";
    assert_eq!(answer.text, expected);
    let exact = world.client().post(&format!("{}?encoding=base64", path(&id)), &json!({"command": "bytes"}));
    assert!(
        exact.text.starts_with("event:stdout\ndata:Yf8AG1swbQ0KZXZlbnQ6IHgK8J+Y\nid:21\n\n"),
        "{}",
        exact.text
    );
    let metrics = world.scrape();
    assert!(metrics.contains("executions_ended_total{kind=\"exited\"} 2"), "{metrics}");
    assert!(metrics.contains("bulkhead_gateway_streams 0"), "{metrics}");
}

#[test]
fn what_goes_wrong_before_the_start_is_a_plain_refusal() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    for (body, status, text) in [
        (json!({"command": " "}), 400, "command: must not be empty"),
        (json!({"command": "x", "onDisconnect": "stay"}), 400, "onDisconnect: "),
        (json!({"command": "x", "stdin": 1}), 400, "stdin: "),
        (json!({"command": "x", "user": "a b"}), 400, "user: "),
        (json!({"command": "no shell"}), 400, "command: "),
        (json!({"command": "no process"}), 429, "process limit"),
        (json!({"command": "status 500"}), 502, "the sandbox's agent"),
    ] {
        let answer = client.post(&path(&id), &body);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.error().starts_with(text), "{answer:?}");
    }
    assert_eq!(client.post(&format!("{}?encoding=hex", path(&id)), &json!({"command": "x"})).status, 400);
    assert_eq!(client.post(&path("x"), &json!({"command": "x"})).status, 404);
    assert_eq!(client.get(&path(&id)).status, 405);
}

#[test]
fn every_stream_ends_with_an_exit() {
    let world = World::new();
    for (command, code, kind) in [
        ("timeout", 124, "timeout"),
        ("oom", 137, "oom"),
        ("signal", 139, "signaled"),
        ("giant frame", 137, "gone"),
        ("unknown frame", 137, "gone"),
        ("empty frames", 137, "gone"),
        ("cut frame", 137, "gone"),
        ("bad code", 137, "gone"),
        ("bad json", 137, "gone"),
    ] {
        let id = world.sandbox("code");
        let answer = world.client().post(&path(&id), &json!({"command": command}));
        assert_eq!(answer.status, 200, "{command}: {answer:?}");
        let exit = exit(&answer.text);
        assert_eq!((&exit["exitCode"], &exit["end"]["kind"]), (&json!(code), &json!(kind)), "{command}");
        assert_eq!(exit["error"].is_string(), kind != "signaled", "{command}: {exit}");
    }
    let id = world.sandbox("code");
    let mut stream = open(&world.client(), &path(&id), &json!({"command": "hang", "timeout": 300}));
    let mut text = read_until(&mut stream, "so far");
    world.runtime.kill(&id);
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains(r#""error":"the sandbox ended","end":{"kind":"gone"}"#), "{text}");
    assert!(!world.log().contains("forged"));
}

#[test]
fn an_unfinished_line_comes_soon_and_silence_is_filled() {
    let world = World::new();
    let id = world.sandbox("code");
    let text = world.client().post(&path(&id), &json!({"command": "typing"})).text;
    let expected = "event:stdout\ndata:pass\nid:4\n\nevent:stdout\ndata:word: \nid:10\n\nevent:stdout\ndata:\u{20ac}\nid:13\n\n";
    assert!(text.starts_with(expected), "{text}");
    let start = Instant::now();
    let mut stream = open(&world.client(), &path(&id), &json!({"command": "hang", "timeout": 300}));
    let text = read_until(&mut stream, "\n:\n\n");
    assert!(text.contains("event:stdout\ndata:so far\nid:6\n\n"), "{text}");
    let time = start.elapsed();
    assert!((Duration::from_secs(14)..Duration::from_secs(18)).contains(&time), "{time:?}");
}

#[test]
fn a_client_that_leaves_ends_its_stream() {
    let world = World::new();
    let id = world.sandbox("code");
    let before = descriptors(world.pid());
    for _ in 0..50 {
        let mut stream = open(&world.client(), &path(&id), &json!({"command": "hang", "timeout": 300}));
        read_until(&mut stream, "so far");
    }
    eventually("the connections to the agent are closed", || descriptors(world.pid()) <= before);
    eventually("the ends are counted", || {
        world.scrape().contains("executions_ended_total{kind=\"left\"} 50")
    });
}

#[test]
fn clients_that_stop_reading_fill_no_memory_and_stop_nobody() {
    let world = World::new();
    let (id, other) = (world.sandbox("code"), world.sandbox("code"));
    let resident = || {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", world.pid())).unwrap();
        text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let body = json!({"command": "flood", "timeout": 300});
    let mut stalled: Vec<TcpStream> = (0..100).map(|_| open(&world.client(), &path(&id), &body)).collect();
    for stream in &mut stalled {
        read_until(stream, "event:stdout");
    }
    // Whatever will fill has filled when it no longer grows.
    let mut before = resident();
    eventually("the buffers are full", || {
        // Long enough for a busy host, where a stream may wait for its turn for a while.
        std::thread::sleep(Duration::from_secs(2));
        let now = resident();
        let settled = now <= before + (1 << 20);
        before = now;
        settled
    });
    std::thread::sleep(Duration::from_secs(2));
    let grown = resident().saturating_sub(before);
    assert!(grown < 2 << 20, "the gateway grew by {grown} bytes");
    assert!(before < 128 << 20, "{before} bytes for 100 streams");
    let start = Instant::now();
    assert_eq!(world.run(&other, "x").status, 200);
    assert!(start.elapsed() < Duration::from_secs(1));
    // One that goes on reading gets everything in order.
    let mut reader = stalled.pop().unwrap();
    let mut rest = vec![0; 4 << 20];
    reader.read_exact(&mut rest).unwrap();
    let text = String::from_utf8(rest).unwrap();
    let data = text.lines().filter(|line| line.len() == 36).filter_map(|line| line.strip_prefix("data:"));
    assert!(data.filter(|line| *line == "0123456789abcdef0123456789abcde").count() > 100_000);
}
