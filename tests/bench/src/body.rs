//! A chunked body, read as fast as one thread can.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A body that stops for so long is broken.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of one read.
const READ: usize = 256 << 10;
/// A head, or the line before a chunk, is shorter.
const MAX_LINE: usize = 16 << 10;

/// An answer whose head was read.
pub(crate) struct Body {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// The part of the buffer that was read and not yet taken.
    from: usize,
    to: usize,
    /// Bytes of the current chunk that are still to come.
    left: usize,
}

impl Body {
    /// Sends a request, which must be answered with 200 and a chunked body.
    pub(crate) fn open(port: u16, request: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(TIMEOUT))?;
        socket.write_all(request.as_bytes())?;
        let mut body = Self { socket, buffer: vec![0; READ], from: 0, to: 0, left: 0 };
        let head = body.until(b"\r\n\r\n")?;
        ensure!(head.starts_with("HTTP/1.1 200 "), "{head}");
        ensure!(head.to_ascii_lowercase().contains("transfer-encoding: chunked"), "not chunked: {head}");
        Ok(body)
    }

    /// The next bytes, `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        if self.left == 0 {
            let line = self.until(b"\r\n")?;
            self.left = usize::from_str_radix(&line, 16).with_context(|| format!("chunk {line:?}"))?;
            if self.left == 0 {
                return Ok(None);
            }
            // The line end behind the chunk.
            self.left += 2;
        }
        if self.from == self.to {
            self.fill()?;
        }
        let taken = self.left.min(self.to - self.from);
        let end = self.left - taken;
        let piece = self.from..self.from + taken - 2_usize.saturating_sub(end).min(taken);
        (self.from, self.left) = (self.from + taken, end);
        Ok(Some(&self.buffer[piece]))
    }

    fn fill(&mut self) -> Result<()> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.buffer.len() {
            self.buffer.copy_within(self.from.., 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        let count = self.socket.read(&mut self.buffer[self.to..])?;
        ensure!(count > 0, "the connection ended within the answer");
        self.to += count;
        Ok(())
    }

    /// Text up to a mark, which is taken too.
    fn until(&mut self, mark: &[u8]) -> Result<String> {
        loop {
            let ready = &self.buffer[self.from..self.to];
            if let Some(at) = ready.windows(mark.len()).take(MAX_LINE).position(|part| part == mark) {
                let text = String::from_utf8_lossy(&ready[..at]).into_owned();
                self.from += at + mark.len();
                return Ok(text);
            }
            if ready.len() > MAX_LINE {
                bail!("a line of more than {MAX_LINE} bytes");
            }
            self.fill()?;
        }
    }
}
