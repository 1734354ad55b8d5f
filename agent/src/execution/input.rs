//! What is written to an execution: the writing end of its standard input, or the master of its terminal.
//!
//! There is no queue: who writes waits until the program has read, and is not read from meanwhile.

use crate::gate::Gate;
use bulkhead_protocol::agent::InputTaken;
use nix::errno::Errno;
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use tokio::io::unix::AsyncFd;
use tokio::sync::Mutex;

/// See the module.
#[derive(Debug)]
pub(crate) struct Input {
    kind: Kind,
    sink: RefCell<Sink>,
    /// Who writes; the others wait in order, so that no two requests mix.
    turn: Mutex<()>,
    closed: Gate,
}

/// What an execution takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing.
    Null,
    /// Bytes, until somebody closes it.
    Pipe,
    /// What is typed.
    Terminal,
}

#[derive(Debug, Clone)]
enum Sink {
    Open(Rc<AsyncFd<OwnedFd>>),
    /// The program closed its end. Ours stays: to close a master is to hang up on whoever is left.
    Broken(Rc<AsyncFd<OwnedFd>>),
    /// We closed ours.
    Closed,
}

impl Input {
    /// An input that takes nothing.
    pub(crate) fn null() -> Self {
        Self::of(Kind::Null, Sink::Closed)
    }

    /// The non-blocking writing end of a pipe.
    pub(crate) fn pipe(writer: AsyncFd<OwnedFd>) -> Self {
        Self::of(Kind::Pipe, Sink::Open(Rc::new(writer)))
    }

    /// A non-blocking master.
    pub(crate) fn terminal(master: Rc<AsyncFd<OwnedFd>>) -> Self {
        Self::of(Kind::Terminal, Sink::Open(master))
    }

    fn of(kind: Kind, sink: Sink) -> Self {
        Self { kind, sink: RefCell::new(sink), turn: Mutex::default(), closed: Gate::default() }
    }

    /// What it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether we closed it, or it never was open.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.sink.borrow(), Sink::Closed)
    }

    /// The master of a terminal that is still open.
    pub(crate) fn master(&self) -> Option<Rc<AsyncFd<OwnedFd>>> {
        match &*self.sink.borrow() {
            Sink::Open(file) | Sink::Broken(file) => {
                Some(Rc::clone(file)).filter(|_| self.kind == Kind::Terminal)
            }
            Sink::Closed => None,
        }
    }

    /// The end: who waits to write comes back with what was taken.
    pub(crate) fn close(&self) {
        self.sink.replace(Sink::Closed);
        self.closed.open();
    }

    /// Waits for a turn to write.
    pub(crate) async fn writer(&self) -> Writer<'_> {
        Writer { input: self, taken: 0, _turn: self.turn.lock().await }
    }
}

/// A turn of writing.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    input: &'a Input,
    taken: u64,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

/// Whether more can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// All was.
    All,
    /// No more ever will be.
    NoMore,
}

impl Writer<'_> {
    /// Writes all of it, unless the other end is closed, or ours is.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> Taken {
        while !bytes.is_empty() {
            // Not over the wait: at the end of the execution nobody may hold the descriptor.
            let Sink::Open(file) = self.input.sink.borrow().clone() else { return Taken::NoMore };
            let written = tokio::select! {
                biased;
                () = self.input.closed.opened() => return Taken::NoMore,
                written = write_some(&file, bytes) => written,
            };
            let Ok(count) = written else {
                // Unless the end came first.
                if !self.input.is_closed() {
                    self.input.sink.replace(Sink::Broken(file));
                }
                return Taken::NoMore;
            };
            self.taken += u64::try_from(count).unwrap_or(u64::MAX);
            bytes = &bytes[count..];
        }
        Taken::All
    }

    /// What was taken in this turn.
    pub(crate) fn taken(&self) -> InputTaken {
        InputTaken { bytes: self.taken }
    }
}

async fn write_some(file: &AsyncFd<OwnedFd>, bytes: &[u8]) -> Result<usize, Errno> {
    loop {
        let mut guard = file.writable().await.map_err(|_| Errno::EIO)?;
        match nix::unistd::write(file.get_ref().as_fd(), bytes) {
            // A full master that nobody has the slave of: it stays "ready" for ever, and this loop would be one.
            Err(Errno::EAGAIN) if guard.ready().is_write_closed() => return Err(Errno::EPIPE),
            Err(Errno::EAGAIN) => guard.clear_ready(),
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}
