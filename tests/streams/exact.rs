//! `?encoding=base64`: every byte, in its place.

use bulkhead_tests::{Event, Events, Server};
use serde_json::json;

/// Joins the bytes of one stream, and checks that each offset is the sum of what came.
fn bytes_of(events: &mut Events, name: &str) -> Vec<u8> {
    let mut offset = 0;
    let mut got = Vec::new();
    while let Some(event) = events.next_event() {
        if !event.is_output() {
            assert_eq!(event.name, "exit");
            break;
        }
        let bytes = checked(&event, &mut offset);
        if event.name == name {
            got.extend_from_slice(&bytes);
        }
    }
    got
}

fn checked(event: &Event, offset: &mut u64) -> Vec<u8> {
    assert!(!event.data.contains('\n'), "one line of base64: {event:?}");
    let bytes = event.bytes();
    assert!(!bytes.is_empty(), "{event:?}");
    *offset += bytes.len() as u64;
    assert_eq!(event.id, Some(*offset), "the id is the offset behind the event");
    bytes
}

#[test]
fn all_bytes_come_as_they_are() {
    let server = Server::start();
    let sandbox = server.create();
    let program =
        "python3 -c 'import os,sys; os.write(1, bytes(range(256))*3); os.write(2, bytes(range(255,-1,-1)))'";
    let every: Vec<u8> = (0..=255).collect();
    for attempt in ["stdout", "stderr"] {
        let mut events = sandbox.stream_with("?encoding=base64", program, json!({}));
        let expected: Vec<u8> = match attempt {
            "stdout" => every.repeat(3),
            _ => every.iter().rev().copied().collect(),
        };
        assert_eq!(bytes_of(&mut events, attempt), expected, "{attempt}");
    }
}

#[test]
fn attach_speaks_it_too() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run(r"printf 'a\r\n\xff\x00 trailing  '; sleep 0.3; printf '\n\n'");
    let got = bytes_of(&mut sandbox.attach(pid, "?encoding=base64"), "stdout");
    assert_eq!(got, b"a\r\n\xff\x00 trailing  \n\n");
    let last = bytes_of(&mut sandbox.attach(pid, "?encoding=base64"), "stdout");
    assert_eq!(last, got, "again");
}

#[test]
fn megabytes_come_whole() {
    let server = Server::start();
    let sandbox = server.create();
    let program = "python3 -c '\nimport sys\nx = 1\nout = bytearray()\nfor i in range(1 << 20):\n    x = x * 1103515245 + 12345 & 0x7fffffff\n    out.append(x >> 16 & 255)\nfor i in range(8): sys.stdout.buffer.write(out)\n'";
    let mut x: u32 = 1;
    let block: Vec<u8> = (0..1 << 20)
        .map(|_| {
            x = x.wrapping_mul(1_103_515_245).wrapping_add(12345) & 0x7fff_ffff;
            (x >> 16).to_le_bytes()[0]
        })
        .collect();
    let mut events = sandbox.stream_with("?encoding=base64", program, json!({}));
    let got = bytes_of(&mut events, "stdout");
    assert_eq!(got.len(), 8 << 20);
    assert!(got.chunks(1 << 20).all(|piece| piece == block), "a byte changed on the way");
}
