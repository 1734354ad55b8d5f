//! A WebSocket client that sees every frame and may send what no library would.

use crate::raw::{self, RawAnswer};
use crate::streaming::find;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The example of RFC 6455, section 1.3, so that the server's proof is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// Any mask does.
const MASK: [u8; 4] = [0x5a, 0xc3, 0x01, 0xfe];
/// Bit of a whole message in the first byte.
const FIN: u8 = 0x80;

/// Kinds of frames, with their numbers of the RFC.
pub mod opcode {
    /// Goes on with a message.
    pub const CONTINUATION: u8 = 0;
    /// A message of UTF-8.
    pub const TEXT: u8 = 1;
    /// A message of bytes.
    pub const BINARY: u8 = 2;
    /// The last frame.
    pub const CLOSE: u8 = 8;
    /// Asks for a pong.
    pub const PING: u8 = 9;
    /// Answers a ping.
    pub const PONG: u8 = 10;
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A binary message.
    Data(Vec<u8>),
    /// A text message.
    Text(String),
    /// A pong and what it carries.
    Pong(Vec<u8>),
    /// A close frame: its code (1005 for none) and its reason.
    Close(u16, String),
    /// The connection ended.
    Gone,
}

/// One connection after the upgrade.
#[derive(Debug)]
pub struct WebSocket {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// Payload of the largest frame so far.
    pub largest: usize,
}

impl WebSocket {
    /// Asks for an upgrade of `target`.
    ///
    /// # Errors
    /// The server's answer, when it is not 101.
    ///
    /// # Panics
    /// When a 101 does not prove that it was meant for us.
    pub fn connect(address: &str, target: &str, headers: &[(&str, &str)]) -> Result<Self, RawAnswer> {
        let mut request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n");
        request +=
            &format!("Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        Self::request(address, &(request + "\r\n"))
    }

    /// Sends a whole request of one's own.
    ///
    /// # Errors
    /// The server's answer, when it is not 101.
    ///
    /// # Panics
    /// When a 101 does not prove that it was meant for us.
    pub fn request(address: &str, request: &str) -> Result<Self, RawAnswer> {
        let mut stream = raw::connect(address);
        stream.write_all(request.as_bytes()).expect("the server listens");
        // The status is looked at, not taken: an answer that is no upgrade is read elsewhere.
        let mut start = [0_u8; 12];
        while !matches!(stream.peek(&mut start).expect("an answer"), 0 | 12) {
            std::thread::yield_now();
        }
        stream.set_write_timeout(Some(Duration::from_secs(10))).expect("a timeout above zero");
        if &start != b"HTTP/1.1 101" {
            return Err(raw::finish(&mut stream));
        }
        let mut socket = Self { stream, buffer: Vec::new(), largest: 0 };
        let end = loop {
            if let Some(end) = find(&socket.buffer, b"\r\n\r\n") {
                break end;
            }
            assert!(socket.fill(Duration::from_secs(10)), "closed within the head");
        };
        let head = String::from_utf8_lossy(&socket.buffer[..end]).into_owned();
        let lower = head.to_ascii_lowercase();
        assert!(head.contains(ACCEPT), "no proof in {head}");
        assert!(!lower.contains("sec-websocket-extensions"), "extensions were not asked for: {head}");
        assert!(!lower.contains("sec-websocket-protocol"), "a protocol was not asked for: {head}");
        socket.buffer.drain(..end + 4);
        Ok(socket)
    }

    /// The bare connection, for one who reads without looking.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// A text message, as the SDKs send what is typed.
    pub fn text(&mut self, text: &str) {
        self.frame(FIN | opcode::TEXT, text.as_bytes());
    }

    /// One frame with any first byte (flags and [`opcode`]), masked. A server that has closed is no error here.
    pub fn frame(&mut self, first: u8, payload: &[u8]) {
        let mut bytes = head(first, payload.len(), 0x80);
        bytes.extend_from_slice(&MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        self.bytes(&bytes);
    }

    /// One whole message of this opcode.
    pub fn message(&mut self, opcode: u8, payload: &[u8]) {
        self.frame(FIN | opcode, payload);
    }

    /// A close frame.
    pub fn close(&mut self, code: u16) {
        self.frame(FIN | opcode::CLOSE, &code.to_be_bytes());
    }

    /// Any bytes. A server that has closed is no error here: what it said is still to be read.
    pub fn bytes(&mut self, bytes: &[u8]) {
        drop(self.stream.write_all(bytes));
    }

    /// The next message within `time`; `None` when nothing came.
    ///
    /// # Panics
    /// When the server breaks the protocol: a mask, reserved bits, fragments.
    pub fn receive(&mut self, time: Duration) -> Option<Message> {
        let until = Instant::now() + time;
        loop {
            if let Some(message) = self.take() {
                return Some(message);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if !self.fill(left) && Instant::now() < until {
                return Some(Message::Gone);
            }
        }
    }

    /// What the server says at last, with everything before it left out.
    ///
    /// # Panics
    /// When the end does not come within `time`.
    pub fn end(&mut self, time: Duration) -> Message {
        let until = Instant::now() + time;
        while let Some(message) = self.receive(until.saturating_duration_since(Instant::now())) {
            if matches!(message, Message::Close(..) | Message::Gone) {
                return message;
            }
        }
        panic!("no end within {time:?}");
    }

    /// A frame whose first and second byte are whole, and its payload with it.
    fn take(&mut self) -> Option<Message> {
        let [first, second] = *self.buffer.first_chunk::<2>()?;
        assert_eq!(second & 0x80, 0, "the server masks");
        assert_eq!(first & 0xf0, FIN, "a fragment or reserved bits: {first:#x}");
        let (start, length) = match second {
            126 => (4, usize::from(u16::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?))),
            127 => {
                let long = u64::from_be_bytes(*self.buffer.get(2..)?.first_chunk()?);
                (10, usize::try_from(long).expect("a length"))
            }
            short => (2, usize::from(short)),
        };
        if self.buffer.len() < start + length {
            return None;
        }
        let payload: Vec<u8> = self.buffer.drain(..start + length).skip(start).collect();
        self.largest = self.largest.max(payload.len());
        Some(match first & 0x0f {
            opcode::BINARY => Message::Data(payload),
            opcode::TEXT => Message::Text(String::from_utf8(payload).expect("a text message is UTF-8")),
            opcode::PONG => Message::Pong(payload),
            opcode::PING => {
                self.frame(FIN | opcode::PONG, &payload);
                return self.take();
            }
            opcode::CLOSE => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                let reason = payload.get(2..).unwrap_or_default();
                Message::Close(code, String::from_utf8(reason.to_vec()).expect("a reason is UTF-8"))
            }
            other => panic!("opcode {other}"),
        })
    }

    /// Reads once. False at the end, and when nothing came in time.
    fn fill(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time.max(Duration::from_millis(1)))).expect("a timeout above zero");
        let mut chunk = [0_u8; 64 << 10];
        match self.stream.read(&mut chunk) {
            Ok(many) => {
                self.buffer.extend_from_slice(&chunk[..many]);
                many > 0
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => true,
            Err(_) => false,
        }
    }
}

/// The bytes before the mask; `masked` is the bit that announces one.
#[must_use]
pub fn head(first: u8, length: usize, masked: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        bytes.push(masked | short);
    } else if let Ok(medium) = u16::try_from(length) {
        bytes.push(masked | 126);
        bytes.extend_from_slice(&medium.to_be_bytes());
    } else {
        bytes.push(masked | 127);
        bytes.extend_from_slice(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_take_the_shortest_form() {
        assert_eq!(head(0x81, 125, 0x80), [0x81, 0xfd]);
        assert_eq!(head(0x81, 126, 0x80), [0x81, 0xfe, 0, 126]);
        assert_eq!(head(0x82, 65_536, 0), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}
