//! A client that reads much with little: hundreds of them share two processors with what they measure.

use bulkhead_tests::streaming::Streaming;
use bulkhead_tests::{Client, Sandbox};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Nothing may be silent for longer: a comment comes each 15 s.
const SILENCE: Duration = Duration::from_secs(30);
/// Bytes of one read.
const READ: usize = 128 << 10;

/// The events of one answer, line by line.
#[derive(Debug)]
pub(crate) struct Reader {
    /// `X-Execution-Pid`.
    pub(crate) pid: u64,
    socket: TcpStream,
    body: BufReader<Chunks>,
    line: Vec<u8>,
}

/// What is of interest in an event in base64.
#[derive(Debug)]
pub(crate) enum Event {
    Output { bytes: Vec<u8>, id: u64 },
    Gap(Value),
    Exit(Value),
}

impl Reader {
    /// `POST` to a path of the sandbox that answers with events.
    pub(crate) fn open(sandbox: &Sandbox<'_>, rest: &str, header: &str, body: &Value) -> Self {
        let mut socket = send(sandbox.client(), &sandbox.path(rest), header, body);
        socket.set_read_timeout(Some(SILENCE)).expect("a timeout above zero");
        let own = socket.try_clone().expect("a second handle");
        let mut head = Vec::new();
        // Byte by byte, so that nothing of the body is taken.
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).expect("a head");
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).expect("a head is text").to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let pid = head.lines().find_map(|line| line.strip_prefix("x-execution-pid: "));
        let pid = pid.and_then(|pid| pid.parse().ok()).expect("X-Execution-Pid");
        let chunks = Chunks { socket: BufReader::with_capacity(READ, socket), left: 0 };
        Self { pid, socket: own, body: BufReader::with_capacity(READ, chunks), line: Vec::new() }
    }

    /// The next event.
    pub(crate) fn next(&mut self) -> Event {
        let (mut name, mut data, mut id) = (String::new(), Vec::new(), 0);
        loop {
            self.line.clear();
            let count = self.body.read_until(b'\n', &mut self.line).expect("the body goes on");
            assert!(count > 0, "the body ended without an exit");
            self.line.pop();
            let text = || std::str::from_utf8(&self.line).expect("events are text");
            if self.line.is_empty() && !name.is_empty() {
                break;
            } else if let Some(bytes) = self.line.strip_prefix(b"data:") {
                data = bytes.to_vec();
            } else if let Some(text) = text().strip_prefix("event:") {
                name = text.to_owned();
            } else if let Some(text) = text().strip_prefix("id:") {
                id = text.parse().expect("an id is a number");
            } else {
                assert!(self.line.is_empty() || self.line == b":", "{:?}", text());
            }
        }
        let json = || serde_json::from_slice(&data).expect("JSON");
        match name.as_str() {
            "stdout" => Event::Output { bytes: decode(&data), id },
            "gap" => Event::Gap(json()),
            "exit" => Event::Exit(json()),
            other => panic!("event {other}"),
        }
    }

    /// Goes away without a word.
    pub(crate) fn cut(self) {
        drop(self.socket.shutdown(std::net::Shutdown::Both));
    }
}

fn decode(data: &[u8]) -> Vec<u8> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.decode(data).expect("base64")
}

/// Sends a request over a connection of its own.
fn send(client: &Client, path: &str, header: &str, body: &Value) -> TcpStream {
    let mut socket = TcpStream::connect(client.address()).expect("the server listens");
    let body = body.to_string();
    let request = format!(
        "POST /api{path} HTTP/1.1\r\nHost: {}\r\nX-API-Key: {}\r\n{header}Content-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        client.address(),
        client.key(),
        body.len()
    );
    socket.write_all(request.as_bytes()).expect("the server reads");
    socket
}

/// The inside of a chunked body.
#[derive(Debug)]
struct Chunks {
    socket: BufReader<TcpStream>,
    /// Bytes of the current chunk that are still to come.
    left: usize,
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        while self.left == 0 {
            let mut line = String::new();
            self.socket.read_line(&mut line)?;
            if line == "\r\n" {
                // Behind the chunk before.
                continue;
            }
            self.left = usize::from_str_radix(line.trim_end(), 16).map_err(std::io::Error::other)?;
            if self.left == 0 {
                return Ok(0);
            }
        }
        let most = self.left.min(into.len());
        let count = self.socket.read(&mut into[..most])?;
        self.left -= count;
        Ok(count)
    }
}

/// A stream of `script` of which a first KiB is read, and no more.
pub(crate) fn stalled(sandbox: &Sandbox<'_>, script: &str) -> Streaming {
    let mut answer = sandbox.open("/exec-stream", &[], &json!({"command": script, "timeout": 300}));
    assert_eq!(answer.status, 200, "{}", answer.head);
    let mut read = 0;
    while read < 1 << 10 {
        let piece = answer.read();
        assert!(!piece.is_empty(), "the stream ended");
        read += piece.len();
    }
    answer
}
