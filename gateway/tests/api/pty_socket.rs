//! The smallest WebSocket client that can also do everything wrong.

use crate::client::{Answer, Client, Stream};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The headers of a handshake.
pub(crate) const HANDSHAKE: [(&str, &str); 4] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

/// One connection after its handshake.
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
}

/// An answer up to its body.
fn head(stream: &mut dyn Read) -> Vec<u8> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    head
}

/// A handshake of these bytes: whether it was answered with a 101.
pub(crate) fn upgrades(stream: &mut dyn Stream, client: &Client, path: &str) -> bool {
    let client = HANDSHAKE.iter().fold(client.clone(), |client, (name, value)| client.with(name, value));
    let text = String::from_utf8(client.text("GET", path, b"")).unwrap();
    let text = text.replace("Content-Length: 0\r\n", "").replace("Connection: close\r\n", "");
    stream.write_all(text.as_bytes()).unwrap();
    let head = head(stream);
    head.starts_with(b"HTTP/1.1 101 ")
}

impl Socket {
    /// The socket, or the answer that refuses it.
    pub(crate) fn open(client: &Client, path: &str) -> Result<Self, Answer> {
        let client = HANDSHAKE.iter().fold(client.clone(), |client, (name, value)| client.with(name, value));
        Self::with(&client, path)
    }

    /// A handshake with the client's own headers only.
    pub(crate) fn with(client: &Client, path: &str) -> Result<Self, Answer> {
        let mut stream = client.connect();
        let text = String::from_utf8(client.text("GET", path, b"")).unwrap();
        // A second word beside `Upgrade`, as some clients send; the connection stays open for a 101 only.
        let text =
            text.replace("Content-Length: 0\r\n", "").replace("Connection: close", "Connection: keep-alive");
        stream.write_all(text.as_bytes()).unwrap();
        let head = head(&mut stream);
        let text = String::from_utf8(head.clone()).unwrap();
        if text.starts_with("HTTP/1.1 101 ") {
            assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
            assert!(!text.to_ascii_lowercase().contains("extensions"), "{text}");
            return Ok(Self { stream });
        }
        let length = text.to_ascii_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).unwrap();
        Err(Answer::parse(&[head, body].concat()))
    }

    pub(crate) fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.raw(&frame(0x80 | opcode, payload));
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn type_text(&mut self, text: &str) {
        self.send(TEXT, text.as_bytes());
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.stream.read_exact(&mut head)?;
        assert_eq!(head[0] & 0x70, 0, "a server without extensions sets no reserved bit");
        assert_eq!(head[1] & 0x80, 0, "a server masks nothing");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.stream.read_exact(&mut length)?;
                u64::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.stream.read_exact(&mut length)?;
                u64::from_be_bytes(length)
            }
            short => u64::from(short),
        };
        assert!(length <= 65_536, "a message of {length} bytes");
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut payload)?;
        Ok((head[0] & 0xf, payload))
    }

    /// Output until it ends with `end`.
    pub(crate) fn until(&mut self, end: &str) -> String {
        let mut all = String::new();
        while !all.ends_with(end) {
            let (opcode, payload) = self.next().unwrap();
            assert_eq!(opcode, BINARY, "{all:?} then {payload:?}");
            all.push_str(std::str::from_utf8(&payload).unwrap());
        }
        all
    }

    /// Throws away output up to the close, and gives its code and reason.
    pub(crate) fn closed(&mut self) -> (u16, String) {
        loop {
            match self.next() {
                Ok((CLOSE, payload)) if payload.is_empty() => return (1005, String::new()),
                Ok((CLOSE, payload)) => {
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                Ok(_) => {}
                Err(_) => return (1006, String::new()),
            }
        }
    }

    pub(crate) fn patience(&self, time: Duration) {
        self.stream.set_read_timeout(Some(time)).unwrap();
    }
}

/// A masked frame; the mask is zeros, which changes nothing.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        short @ 0..126 => bytes.push(0x80 | u8::try_from(short).unwrap()),
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}
