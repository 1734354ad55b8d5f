//! Bytes to a socket and back, for requests that no HTTP library would send.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A server that says nothing for this long has swallowed the request.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// What a server said to raw bytes.
#[derive(Debug, Clone)]
pub struct RawAnswer {
    /// Status of the last answer on the connection, 0 when the server closed it without one.
    pub status: u16,
    /// Everything that came.
    pub text: String,
}

/// Sends `bytes`, then reads until the server closes or one whole answer came.
///
/// # Panics
/// When the server can't be reached or stays silent.
#[must_use]
pub fn exchange(address: &str, bytes: &[u8]) -> RawAnswer {
    let mut stream = connect(address);
    // The server may refuse and close before it has read everything: what it said is still to be read.
    drop(stream.write_all(bytes));
    finish(&mut stream)
}

/// An open connection, for tests that send little by little.
///
/// # Panics
/// When the server can't be reached.
#[must_use]
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|e| panic!("connect to {address}: {e}"));
    stream.set_read_timeout(Some(READ_TIMEOUT)).expect("a timeout above zero");
    stream
}

/// Reads until the server closes or one whole answer came.
///
/// # Panics
/// When the server stays silent.
#[must_use]
pub fn finish(stream: &mut TcpStream) -> RawAnswer {
    let mut got = Vec::new();
    let mut chunk = [0u8; 8192];
    while !is_whole(&got) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => got.extend_from_slice(&chunk[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(e) => {
                panic!("no answer within {READ_TIMEOUT:?}: {e}; so far {:?}", String::from_utf8_lossy(&got))
            }
        }
    }
    let text = String::from_utf8_lossy(&got).into_owned();
    RawAnswer { status: status_of(&text), text }
}

fn status_of(text: &str) -> u16 {
    text.strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3))
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

fn is_whole(got: &[u8]) -> bool {
    let text = String::from_utf8_lossy(got);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length:")) {
        return length.trim().parse().is_ok_and(|length: usize| body.len() >= length);
    }
    head.contains("transfer-encoding: chunked") && body.ends_with("0\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_when_its_body_is() {
        assert!(!is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{"));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"));
        assert!(is_whole(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"));
        assert_eq!(status_of("HTTP/1.1 431 Too Large"), 431);
        assert_eq!(status_of(""), 0);
    }
}
