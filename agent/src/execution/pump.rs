//! Moves what a command writes, from its two pipes or its terminal, into the journal.
//!
//! Never reads more than the journal has room for: a command whose one reader must lose nothing and is slow blocks
//! on its pipe. Progress lives in the struct, so every future here may be dropped at any await.

use super::journal::Stream;
use super::link::Link;
use bulkhead_protocol::frame::MAX_PAYLOAD;
use nix::errno::Errno;
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::unix::AsyncFd;

/// How long an answer waits for output after the main process ended, while another process holds it open.
const GRACE: Duration = Duration::from_millis(100);
/// Most bytes that a pipe can hold: `fs.pipe-max-size`, which only the host's root may pass.
const PIPE_BYTES: usize = 1 << 20;
/// Pause between two reads of output that nobody gets, so that it does not cost the others their agent.
const DISCARD_PAUSE: Duration = Duration::from_millis(10);
/// Bytes after which a pump lets the others of the sandbox do something.
const TURN_BYTES: usize = 256 << 10;

/// Where every pump reads to first: the bytes are then copied once, into a record of their exact size.
#[derive(Debug, Clone)]
pub(crate) struct Scratch(Rc<RefCell<Vec<u8>>>);

impl Default for Scratch {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(vec![0; MAX_PAYLOAD])))
    }
}

/// What a command's output comes from.
#[derive(Debug)]
pub(crate) struct Pump {
    sources: Vec<Source>,
    scratch: Scratch,
    /// Which source is asked first next time, so that neither starves the other.
    turn: usize,
}

/// The reading end of a pipe, or the master of a terminal; non-blocking.
#[derive(Debug)]
pub(crate) struct Source {
    stream: Stream,
    /// `None` once every writer is gone.
    pipe: Option<Rc<AsyncFd<OwnedFd>>>,
}

impl Source {
    /// What comes out of it counts as this stream.
    pub(crate) fn new(stream: Stream, pipe: Rc<AsyncFd<OwnedFd>>) -> Self {
        Self { stream, pipe: Some(pipe) }
    }

    /// Reads when there is something; 0 means that it was closed just now. A master says so by `EIO`.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<usize> {
        let Some(pipe) = &self.pipe else { return Poll::Pending };
        let count = loop {
            let Ok(mut guard) = ready!(pipe.poll_read_ready(cx)) else { break 0 };
            if let Ok(read) = guard.try_io(|pipe| Ok(nix::unistd::read(pipe.get_ref(), buffer)?)) {
                break read.unwrap_or(0);
            }
        };
        if count == 0 {
            self.pipe = None;
        }
        Poll::Ready(count)
    }

    /// Reads what is there without waiting; 0 when nothing is.
    fn read_now(&mut self, buffer: &mut [u8]) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        match nix::unistd::read(pipe.get_ref().as_fd(), buffer) {
            Err(Errno::EAGAIN) => 0,
            Ok(count) if count > 0 => count,
            Ok(_) | Err(_) => {
                self.pipe = None;
                0
            }
        }
    }
}

impl Pump {
    /// A pump over these.
    pub(crate) fn new(sources: Vec<Source>, scratch: Scratch) -> Self {
        Self { sources, scratch, turn: 0 }
    }

    /// Whether anybody can still write.
    pub(crate) fn is_open(&self) -> bool {
        self.sources.iter().any(|source| source.pipe.is_some())
    }

    /// Moves everything until nobody can write any more.
    pub(crate) async fn run(&mut self, link: &Link) {
        let mut moved = 0;
        while self.is_open() {
            let room = link.room().await;
            let mut sink = |stream, bytes: &[u8]| {
                link.write(stream, bytes);
                moved += bytes.len();
            };
            std::future::poll_fn(|cx| self.poll_once(cx, room, &mut sink)).await;
            if moved >= TURN_BYTES {
                moved = 0;
                tokio::task::yield_now().await;
            }
        }
    }

    /// After the end of the main process: moves what it wrote, whole, however slow the reader is; and what
    /// others that hold the pipes add meanwhile, for a short while.
    pub(crate) async fn drain(&mut self, link: &Link) {
        if tokio::time::timeout(GRACE, self.run(link)).await.is_ok() {
            return;
        }
        for index in 0..self.sources.len() {
            let mut left = PIPE_BYTES;
            while left > 0 {
                let room = link.room().await.min(left);
                let source = &mut self.sources[index];
                let mut scratch = self.scratch.0.borrow_mut();
                let count = source.read_now(&mut scratch[..room]);
                if count == 0 {
                    break;
                }
                link.write(source.stream, &scratch[..count]);
                left -= count;
            }
        }
    }

    /// Reads to nowhere until nobody can write any more: a process that lives on after its execution's answer
    /// must not die of a closed pipe.
    pub(crate) async fn discard(&mut self) {
        while self.is_open() {
            std::future::poll_fn(|cx| self.poll_once(cx, MAX_PAYLOAD, |_stream, _bytes| {})).await;
            tokio::time::sleep(DISCARD_PAUSE).await;
        }
    }

    /// One read of up to `room` bytes from whichever pipe has some.
    fn poll_once(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        mut sink: impl FnMut(Stream, &[u8]),
    ) -> Poll<()> {
        let mut scratch = self.scratch.0.borrow_mut();
        for ahead in 0..self.sources.len() {
            let index = (self.turn + ahead) % self.sources.len();
            let source = &mut self.sources[index];
            if let Poll::Ready(count) = source.poll_read(cx, &mut scratch[..room]) {
                sink(source.stream, &scratch[..count]);
                self.turn = index + 1;
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
