//! A body, chunked or of a known length, read as fast as one thread can.

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
    /// Bytes of the current chunk, or of all, that are still to come.
    left: usize,
    framing: Framing,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Chunks,
    Length,
}

impl Body {
    /// Sends a request, which must be answered with 200.
    pub(crate) fn open(port: u16, request: &str) -> Result<Self> {
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.write_all(request.as_bytes())?;
        Self::of(socket)
    }

    /// The answer to a request that was sent already; it must be 200.
    pub(crate) fn of(socket: TcpStream) -> Result<Self> {
        socket.set_read_timeout(Some(TIMEOUT))?;
        let mut body =
            Self { socket, buffer: vec![0; READ], from: 0, to: 0, left: 0, framing: Framing::Chunks };
        let head = body.until(b"\r\n\r\n")?.to_ascii_lowercase();
        ensure!(head.starts_with("http/1.1 200 "), "{head}");
        if let Some(length) = head.lines().find_map(|line| line.strip_prefix("content-length:")) {
            (body.left, body.framing) = (length.trim().parse()?, Framing::Length);
        } else {
            ensure!(head.contains("transfer-encoding: chunked"), "a body without an end: {head}");
        }
        Ok(body)
    }

    /// The next bytes, `None` behind the last.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        match self.framing {
            Framing::Chunks => self.next_of_chunk(),
            Framing::Length => {
                if self.left > 0 && self.from == self.to {
                    self.fill()?;
                }
                let taken = self.left.min(self.to - self.from);
                let from = self.from;
                (self.from, self.left) = (from + taken, self.left - taken);
                Ok((taken > 0).then(|| &self.buffer[from..from + taken]))
            }
        }
    }

    fn next_of_chunk(&mut self) -> Result<Option<&[u8]>> {
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
