//! Much output, its reader cut again and again and resumed by offset: every byte once, or named in a gap.

use crate::client::{Event, Reader};
use bulkhead_tests::{Sandbox, Server};
use serde_json::json;
use std::time::Instant;

/// Bytes of one line, which tells its place.
const LINE: u64 = 4096;
/// Bytes that the program writes in a second: as fast as a client follows who decodes and compares each one,
/// so that the journal's 2 MiB cover what is written while nobody reads.
const RATE: u64 = 24 << 20;

/// Everyday: 64 MiB and 25 cuts. Long form: 1 GiB and 100.
fn size() -> (u64, u64) {
    if crate::is_long() { (1 << 30, 100) } else { (64 << 20, 25) }
}

/// A program that writes `total` bytes.
fn program(total: u64) -> String {
    format!(
        "python3 -c '
import sys, time
start, out = time.monotonic(), sys.stdout.buffer
for n in range(0, {lines}, 16):
    out.write(b\"\".join(b\"%04095d\\n\" % (n + k) for k in range(16)))
    out.flush()
    time.sleep(max(0, n * {LINE} / {RATE} - time.monotonic() + start))
'",
        lines = total / LINE
    )
}

/// What was seen.
struct Seen {
    offset: u64,
    skipped: u64,
    line: u64,
    expected: Vec<u8>,
}

impl Seen {
    fn new() -> Self {
        Self { offset: 0, skipped: 0, line: u64::MAX, expected: Vec::new() }
    }

    /// Compares bytes that begin at the offset.
    fn output(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let line = self.offset / LINE;
            if line != self.line {
                self.line = line;
                self.expected = format!("{line:04095}\n").into_bytes();
            }
            let at = usize::try_from(self.offset % LINE).expect("below a line");
            let count = bytes.len().min(self.expected.len() - at);
            assert!(bytes[..count] == self.expected[at..at + count], "other bytes at {}", self.offset);
            self.offset += u64::try_from(count).expect("below a line");
            bytes = &bytes[count..];
        }
    }

    /// False at the end.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::Output { bytes, id } => {
                self.output(&bytes);
                assert_eq!(id, self.offset);
                true
            }
            Event::Gap(gap) => {
                assert_eq!(gap["from"], self.offset, "a gap starts where we are: {gap}");
                let to = gap["to"].as_u64().filter(|to| *to > self.offset).expect("a gap has a length");
                self.skipped += to - self.offset;
                self.offset = to;
                true
            }
            Event::Exit(exit) => {
                assert_eq!(exit["exitCode"], 0, "{exit}");
                false
            }
        }
    }
}

/// Reads to the end with `cuts` cuts at random places, resumed by query and by header in turn.
fn follow(sandbox: &Sandbox<'_>, first: Reader, total: u64, cuts: u64) {
    let (pid, start, mut seed) = (first.pid, Instant::now(), 7);
    let (mut seen, mut reader) = (Seen::new(), first);
    let places = {
        let mut places: Vec<u64> = (0..cuts).map(|_| crate::random(&mut seed) % total).collect();
        places.sort_unstable();
        places
    };
    let mut made = 0;
    for place in places {
        while seen.offset < place {
            let event = reader.next();
            assert!(seen.take(event), "the end at {} of {total}", seen.offset);
        }
        reader.cut();
        made += 1;
        let (query, header) = match made % 2 {
            0 => (format!("&from={}", seen.offset), String::new()),
            _ => (String::new(), format!("Last-Event-ID: {}\r\n", seen.offset)),
        };
        let rest = format!("/commands/attach?encoding=base64{query}");
        reader = Reader::open(sandbox, &rest, &header, &json!({"pid": pid}));
    }
    loop {
        let event = reader.next();
        if !seen.take(event) {
            break;
        }
    }
    let time = start.elapsed();
    println!("{total} bytes, {made} cuts, {} bytes in gaps, {:.1} s", seen.skipped, time.as_secs_f64());
    assert_eq!(seen.offset, total, "every byte came or was named in a gap");
    assert!(seen.skipped < total / 4, "{} of {total} bytes in gaps", seen.skipped);
}

/// Runs `follow` and looks at memory before and after.
fn with_memory(server: &Server, sandbox: &Sandbox<'_>, work: impl FnOnce()) {
    let now = || (server.half("gateway").resident_kib(), sandbox.agent().resident_kib());
    let before = now();
    work();
    let after = now();
    println!("KiB of gateway and agent: {before:?} before, {after:?} after");
    assert!(after.0 < before.0 + (16 << 10) && after.1 < before.1 + (16 << 10), "{before:?}, {after:?}");
}

#[test]
fn a_detaching_stream_cut_often_comes_whole() {
    let server = Server::start();
    let sandbox = server.create();
    let (total, cuts) = size();
    let body = json!({"command": program(total), "timeout": 300, "onDisconnect": "detach"});
    with_memory(&server, &sandbox, || {
        let first = Reader::open(&sandbox, "/exec-stream?encoding=base64", "", &body);
        follow(&sandbox, first, total, cuts);
    });
}

#[test]
fn a_background_command_cut_often_comes_whole() {
    let server = Server::start();
    let sandbox = server.create();
    let (total, cuts) = size();
    with_memory(&server, &sandbox, || {
        let pid = sandbox.run(&program(total));
        let first = Reader::open(&sandbox, "/commands/attach?encoding=base64", "", &json!({"pid": pid}));
        follow(&sandbox, first, total, cuts);
    });
}
