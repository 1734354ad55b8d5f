//! The worker's side of the connection: frames out, content in, signs of life between.

use super::failure::{Outcome, Stop, failed};
use bulkhead_protocol::agent::KEEP_ALIVE_SECONDS;
use bulkhead_protocol::files::{FileDone, FileFailure, FileHead};
use bulkhead_protocol::frame::{FrameType, HEADER_LEN, MAX_PAYLOAD, OPTIONAL, header};
use nix::errno::Errno;
use nix::sys::sendfile::sendfile;
use serde::Serialize;
use std::fs::File;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Pause between two signs of life.
const PULSE: Duration = Duration::from_secs(KEEP_ALIVE_SECONDS);
/// Bytes that are read from the connection at once.
const INPUT_BYTES: usize = 256 << 10;
/// Lines go out when there are so many bytes of them …
const LINES_BYTES: usize = 48 << 10;
/// … or when the first of them is this old.
const LINES_AGE: Duration = Duration::from_millis(20);
/// How long content that nobody wants any more is passed over, so that the gateway reads why.
const PASS_OVER: Duration = Duration::from_secs(5);

/// How far the conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No `Head` yet.
    Silent,
    /// It begun.
    Begun,
}

/// Whether content may still come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Incoming {
    Open,
    Over,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: UnixStream,
    phase: Phase,
    last: Instant,
    deadline: Option<Instant>,
    lines: Vec<u8>,
    incoming: Incoming,
    input: Vec<u8>,
    /// What of `input` was given out already, and where what was read ends.
    used: usize,
    filled: usize,
    /// Bytes of the current `Input` frame that are still to come.
    open: usize,
    /// The same of one that is not understood and need not be.
    skipped: usize,
}

impl Wire {
    /// A conversation over this connection, of which `read` was read already; at most so long.
    pub(crate) fn new(socket: UnixStream, read: Vec<u8>, limit: Option<Duration>) -> Outcome<Self> {
        // So that the wait for content is not silent.
        socket.set_read_timeout(Some(PULSE))?;
        let now = Instant::now();
        let deadline = limit.map(|limit| now + limit);
        Ok(Self {
            socket,
            phase: Phase::Silent,
            last: now,
            deadline,
            lines: Vec::new(),
            incoming: Incoming::Open,
            used: 0,
            filled: read.len(),
            input: read,
            open: 0,
            skipped: 0,
        })
    }

    /// For who sends by itself.
    pub(crate) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// The operation begins: what fails from here on may leave something.
    pub(crate) fn begin(&mut self) -> Outcome {
        self.begin_with(None, None)
    }

    /// The same, with size and time of a file.
    pub(crate) fn begin_with(&mut self, size: Option<u64>, modified_us: Option<i64>) -> Outcome {
        if self.phase == Phase::Begun {
            return Ok(());
        }
        self.phase = Phase::Begun;
        self.json(FrameType::Head, &FileHead::Begun { size, modified_us })
    }

    /// It ended well.
    pub(crate) fn done(&mut self, done: FileDone) -> Outcome {
        self.begin()?;
        self.flush()?;
        self.json(FrameType::Done, &done)?;
        self.close()?;
        if done.failure.is_some() { self.pass_over() } else { Ok(()) }
    }

    /// It did not.
    pub(crate) fn failed(&mut self, failure: FileFailure) -> Outcome {
        match self.phase {
            Phase::Silent => self.json(FrameType::Head, &FileHead::Failed(failure))?,
            Phase::Begun => {
                return self.done(FileDone { failure: Some(failure), ..FileDone::default() });
            }
        }
        self.close()?;
        self.pass_over()
    }

    /// Called in every loop: a sign of life when one is due, an error when the time is up.
    pub(crate) fn beat(&mut self) -> Outcome {
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now > deadline) {
            return failed(FileFailure::Bounds);
        }
        if now.duration_since(self.last) < PULSE {
            return Ok(());
        }
        self.begin()?;
        self.frame(FrameType::KeepAlive, &[])
    }

    /// Content, cut into frames.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> Outcome {
        for piece in bytes.chunks(MAX_PAYLOAD) {
            self.frame(FrameType::Stdout, piece)?;
        }
        Ok(())
    }

    /// One frame with the next bytes of a file, which the kernel moves by reference. A file that ends before that
    /// cannot take the announced length back: zeros fill the frame, and then this fails.
    pub(crate) fn content_of(&mut self, file: &File, length: usize) -> Outcome {
        self.last = Instant::now();
        self.send(&header(FrameType::Stdout, length))?;
        let mut left = length;
        let missing = loop {
            match sendfile(&self.socket, file, None, left) {
                Ok(0) => break Stop::from(FileFailure::Internal),
                Ok(count) => left -= count,
                Err(Errno::EINTR) => continue,
                Err(errno) => break Stop::from(errno),
            }
            if left == 0 {
                return Ok(());
            }
        };
        self.send(&vec![0; left])?;
        Err(missing)
    }

    fn send(&mut self, bytes: &[u8]) -> Outcome {
        self.socket.write_all(bytes).map_err(|_| Stop::Gone)
    }

    /// A few bytes of content, collected with others.
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Outcome {
        self.lines.extend_from_slice(bytes);
        if self.lines.len() >= LINES_BYTES || self.last.elapsed() >= LINES_AGE {
            return self.flush();
        }
        Ok(())
    }

    /// A line of JSON, collected with others.
    pub(crate) fn line(&mut self, value: &impl Serialize) -> Outcome {
        let mut text = serde_json::to_vec(value).map_err(|_| FileFailure::Internal)?;
        text.push(b'\n');
        self.text(&text)
    }

    /// Sends what was collected.
    pub(crate) fn flush(&mut self) -> Outcome {
        let mut lines = std::mem::take(&mut self.lines);
        let sent = self.content(&lines);
        lines.clear();
        self.lines = lines;
        sent
    }

    /// The next piece of the content that comes in, at most so many bytes; `None` at its end.
    pub(crate) fn next_input(&mut self, most: usize) -> Outcome<Option<&[u8]>> {
        while self.incoming == Incoming::Open {
            let ready = self.filled - self.used;
            if self.skipped > 0 && ready > 0 {
                let count = self.skipped.min(ready);
                self.skipped -= count;
                self.used += count;
                continue;
            }
            if self.open > 0 && ready > 0 {
                let count = self.open.min(ready).min(most);
                self.open -= count;
                self.used += count;
                return Ok(Some(&self.input[self.used - count..self.used]));
            }
            match self.input[self.used..self.filled].first_chunk::<HEADER_LEN>() {
                Some(head) if self.open == 0 && self.skipped == 0 => {
                    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
                    let length = usize::try_from(length).map_err(|_| Stop::Gone)?;
                    let kind = head[0];
                    self.used += HEADER_LEN;
                    if kind == FrameType::Input as u8 && length <= MAX_PAYLOAD {
                        self.open = length;
                    } else if kind >= OPTIONAL && length <= MAX_PAYLOAD {
                        self.skipped = length;
                    } else if kind == FrameType::InputEnd as u8 && length == 0 {
                        self.incoming = Incoming::Over;
                    } else if kind != FrameType::KeepAlive as u8 || length != 0 {
                        return Err(Stop::Gone);
                    }
                }
                _ => self.fill()?,
            }
        }
        Ok(None)
    }

    /// Reads more of the connection, behind what is not used yet.
    fn fill(&mut self) -> Outcome {
        self.input.copy_within(self.used..self.filled, 0);
        (self.used, self.filled) = (0, self.filled - self.used);
        let room = self.filled + INPUT_BYTES;
        if self.input.len() < room {
            self.input.resize(room, 0);
        }
        let count = loop {
            match self.socket.read(&mut self.input[self.filled..]) {
                Ok(count) => break count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.beat()?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Err(Stop::Gone),
            }
        };
        self.filled += count;
        if count == 0 { Err(Stop::Gone) } else { Ok(()) }
    }

    fn json(&mut self, kind: FrameType, value: &impl Serialize) -> Outcome {
        let text = serde_json::to_vec(value).map_err(|_| Stop::Gone)?;
        self.frame(kind, &text)
    }

    fn frame(&mut self, kind: FrameType, payload: &[u8]) -> Outcome {
        self.last = Instant::now();
        let head = header(kind, payload.len());
        let written = (&self.socket).write_vectored(&[IoSlice::new(&head), IoSlice::new(payload)]);
        let written = written.map_err(|_| Stop::Gone)?;
        let rest_of_head = head.get(written..).unwrap_or_default();
        let rest = payload.get(written.saturating_sub(HEADER_LEN)..).unwrap_or_default();
        for rest in [rest_of_head, rest] {
            self.send(rest)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Outcome {
        self.socket.shutdown(Shutdown::Write).map_err(|_| Stop::Gone)
    }

    /// A connection that is closed with content unread in it would take the answer along (unix(7)).
    fn pass_over(&mut self) -> Outcome {
        let end = Instant::now() + PASS_OVER;
        self.socket.set_read_timeout(Some(PASS_OVER))?;
        let mut nowhere = vec![0; INPUT_BYTES];
        while Instant::now() < end {
            match self.socket.read(&mut nowhere) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Ok(())
    }
}
