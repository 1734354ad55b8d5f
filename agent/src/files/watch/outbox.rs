//! Events on their way out, which wait for nobody.

use crate::files::failure::{Outcome, Stop};
use crate::files::path::{AbsolutePath, text};
use bulkhead_protocol::agent::KEEP_ALIVE_SECONDS;
use bulkhead_protocol::files::{EventKind, MAX_WATCH_EVENTS, WatchEvent};
use bulkhead_protocol::frame::{FrameType, MAX_PAYLOAD, encode};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, send};
use std::collections::VecDeque;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant, SystemTime};

/// Pause between two signs of life.
const PULSE: Duration = Duration::from_secs(KEEP_ALIVE_SECONDS);

/// Whether events were lost since the last that is in the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    None,
    Some,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Outbox {
    watched: Vec<u8>,
    queue: VecDeque<WatchEvent>,
    loss: Loss,
    /// Frames that the connection has not taken yet.
    unsent: Vec<u8>,
    last: Instant,
}

impl Outbox {
    /// Nothing yet, of a watch of this path.
    pub(crate) fn new(watched: &AbsolutePath) -> Self {
        Self {
            watched: watched.bytes().to_vec(),
            queue: VecDeque::new(),
            loss: Loss::None,
            unsent: Vec::new(),
            last: Instant::now(),
        }
    }

    /// Appends an event; a repeated change of the same file is one while nobody has read it.
    pub(crate) fn push(&mut self, kind: EventKind, path: &[u8], old_path: Option<&[u8]>) {
        if self.loss == Loss::Some {
            return;
        }
        if self.queue.len() >= MAX_WATCH_EVENTS {
            return self.overflow();
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let event = WatchEvent { kind, path: text(path), old_path: old_path.map(text), time_us };
        let repeated = |last: &WatchEvent| last.kind == EventKind::Modified && last.path == event.path;
        if kind == EventKind::Modified && self.queue.back().is_some_and(repeated) {
            return;
        }
        self.queue.push_back(event);
    }

    /// Events were lost: what comes until the reader has caught up is lost too.
    pub(crate) fn overflow(&mut self) {
        self.loss = Loss::Some;
    }

    /// Whether all is sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.unsent.is_empty() && self.loss == Loss::None
    }

    /// Sends as much as the connection takes at once.
    pub(crate) fn send(&mut self, socket: &UnixStream) -> Outcome {
        loop {
            if self.unsent.is_empty() {
                self.fill()?;
            }
            if self.unsent.is_empty() {
                return Ok(());
            }
            match send(socket.as_raw_fd(), &self.unsent, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(_) => return Err(Stop::Gone),
            }
            self.last = Instant::now();
        }
    }

    /// Puts the next events into a frame, or a sign of life where one is due.
    fn fill(&mut self) -> Outcome {
        let mut lines = Vec::new();
        while let Some(event) = self.queue.front() {
            let line = serde_json::to_vec(event).map_err(|_| Stop::Gone)?;
            if lines.len() + line.len() >= MAX_PAYLOAD {
                break;
            }
            lines.extend_from_slice(&line);
            lines.push(b'\n');
            self.queue.pop_front();
        }
        if !lines.is_empty() {
            encode(FrameType::Stdout, &lines, &mut self.unsent);
        } else if self.loss == Loss::Some {
            self.loss = Loss::None;
            let watched = self.watched.clone();
            self.push(EventKind::Overflow, &watched, None);
            return self.fill();
        } else if self.last.elapsed() >= PULSE {
            encode(FrameType::KeepAlive, &[], &mut self.unsent);
        }
        Ok(())
    }
}
