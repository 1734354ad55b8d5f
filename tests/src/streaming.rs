//! An HTTP answer whose body is read while it comes, over a socket of its own: what no pooled client shows.

use crate::client::Client;
use crate::raw;
use serde_json::Value;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

/// A server that says nothing for this long has swallowed the request.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// How the length of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    /// Bytes that are still to come.
    Known(usize),
    /// In chunks; bytes of the current one that are still to come.
    Chunked(usize),
    /// The body is over.
    Over,
}

/// An answer whose head was read.
#[derive(Debug)]
pub struct Streaming {
    /// HTTP status.
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    socket: TcpStream,
    buffer: Vec<u8>,
    length: Length,
}

impl Streaming {
    /// `POST /api<path>` with a JSON body and more headers, up to the end of the answer's head.
    ///
    /// # Panics
    /// When no HTTP answer comes.
    #[must_use]
    pub fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: &Value) -> Self {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        Self::post_bytes(client, path, &headers, body.to_string().as_bytes())
    }

    /// [`Self::post`] with any bytes.
    ///
    /// # Panics
    /// When no HTTP answer comes.
    #[must_use]
    pub fn post_bytes(client: &Client, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Self {
        Self::post_bytes_within(PATIENCE, client, path, headers, body)
    }

    /// [`Self::post_bytes`] for a head that takes so long.
    ///
    /// # Panics
    /// When no HTTP answer comes.
    #[must_use]
    pub fn post_bytes_within(
        time: Duration,
        client: &Client,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Self {
        let mut request = format!("POST /api{path} HTTP/1.1\r\nHost: {}\r\n", client.address());
        request += &format!("X-API-Key: {}\r\n", client.key());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += &format!("Content-Length: {}\r\n\r\n", body.len());
        let mut socket = raw::connect(client.address());
        socket.set_read_timeout(Some(time)).expect("a timeout above zero");
        // The server may refuse and close before it has read everything: what it said is still to be read.
        drop(socket.write_all(&[request.as_bytes(), body].concat()));
        Self::of(socket)
    }

    /// `GET /api<path>`, up to the end of the answer's head.
    ///
    /// # Panics
    /// When no HTTP answer comes.
    #[must_use]
    pub fn get(client: &Client, path: &str) -> Self {
        let (address, key) = (client.address(), client.key());
        let mut socket = raw::connect(address);
        let request = format!("GET /api{path} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {key}\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("the server listens");
        Self::of(socket)
    }

    fn of(mut socket: TcpStream) -> Self {
        let mut buffer = Vec::new();
        let end = loop {
            if let Some(end) = find(&buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(fill(&mut socket, &mut buffer), "closed within the head: {}", lossy(&buffer));
        };
        let head = lossy(&buffer[..end]);
        buffer.drain(..end + 4);
        let status = head.get(9..12).and_then(|code| code.parse().ok()).unwrap_or(0);
        let mut answer = Self { status, head, socket, buffer, length: Length::Over };
        answer.length = match answer.header("content-length") {
            Some(length) => Length::Known(length.parse().expect("a length is a number")),
            None => {
                assert_eq!(answer.header("transfer-encoding").as_deref(), Some("chunked"), "{}", answer.head);
                Length::Chunked(0)
            }
        };
        answer
    }

    /// Value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }

    /// How long a read waits before it panics.
    pub fn patience(&mut self, time: Duration) {
        self.socket.set_read_timeout(Some(time)).expect("a timeout above zero");
    }

    /// The next bytes of the body; empty when it is over.
    ///
    /// # Panics
    /// When nothing comes in time, or the connection ends within the body.
    #[must_use]
    pub fn read(&mut self) -> Vec<u8> {
        loop {
            match self.length {
                Length::Over | Length::Known(0) => return Vec::new(),
                Length::Known(left) if !self.buffer.is_empty() => {
                    let piece = self.take(left);
                    self.length = Length::Known(left - piece.len());
                    return piece;
                }
                Length::Chunked(0) => {
                    if let Some(size) = self.chunk_size() {
                        self.length = if size == 0 { Length::Over } else { Length::Chunked(size) };
                        continue;
                    }
                }
                Length::Chunked(left) if !self.buffer.is_empty() => {
                    let piece = self.take(left);
                    self.length = Length::Chunked(left - piece.len());
                    return piece;
                }
                Length::Known(_) | Length::Chunked(_) => {}
            }
            let more = fill(&mut self.socket, &mut self.buffer);
            assert!(more, "the connection ended within the body; unread: {}", lossy(&self.buffer));
        }
    }

    /// The rest of the body.
    #[must_use]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let piece = self.read();
            if piece.is_empty() {
                return all;
            }
            all.extend_from_slice(&piece);
        }
    }

    /// Whether the server closes the connection within this time, whatever it still sends.
    ///
    /// # Panics
    /// When a read fails for another reason than the server's end.
    #[must_use]
    pub fn is_cut(mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut chunk = [0_u8; 64 << 10];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            self.patience(left);
            match self.socket.read(&mut chunk) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => return true,
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(e) => panic!("{e}"),
            }
        }
    }

    /// Goes away without a word, as a client that was killed does.
    pub fn cut(self) {
        drop(self.socket.shutdown(Shutdown::Both));
    }

    fn take(&mut self, most: usize) -> Vec<u8> {
        let many = most.min(self.buffer.len());
        self.buffer.drain(..many).collect()
    }

    /// The line before a chunk, with the line end of the chunk before it.
    fn chunk_size(&mut self) -> Option<usize> {
        let skipped = if self.buffer.starts_with(b"\r\n") { 2 } else { 0 };
        let end = skipped + find(&self.buffer[skipped..], b"\r\n")?;
        let text = lossy(&self.buffer[skipped..end]);
        let size = usize::from_str_radix(text.trim(), 16).unwrap_or_else(|e| panic!("chunk {text:?}: {e}"));
        self.buffer.drain(..end + 2);
        Some(size)
    }
}

/// Position of `needle`.
#[must_use]
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Reads once. False at the end.
fn fill(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = [0_u8; 64 << 10];
    match socket.read(&mut chunk) {
        Ok(many) => {
            buffer.extend_from_slice(&chunk[..many]);
            many > 0
        }
        Err(e) if e.kind() == ErrorKind::ConnectionReset => false,
        Err(e) => panic!("nothing came in time: {e}; unread: {}", lossy(buffer)),
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
