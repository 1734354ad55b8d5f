//! Watches: what inotify says, with directories followed as they appear, both names of a move, and a word where
//! something was lost.
//!
//! inotify is read whether or not the gateway reads: events wait in a bounded queue, and when that is full one
//! [`Overflow`](bulkhead_protocol::files::EventKind::Overflow) stands for the rest.

mod outbox;
mod watcher;

use super::failure::{Outcome, Stop};
use super::path::{AbsolutePath, Root};
use super::wire::Wire;
use bulkhead_protocol::files::{FileDone, Hidden, Reach};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use outbox::Outbox;
use std::os::fd::AsFd;
use watcher::{State, Watcher};

/// How often it looks whether a sign of life is due.
const TICK_MS: u16 = 5000;
/// How often it looks whether the second half of a move still comes.
const SHORT_TICK_MS: u16 = 20;

/// Tells of changes until the path is gone or the connection ends.
pub(crate) fn watch(
    root: &Root,
    path: &AbsolutePath,
    reach: Reach,
    hidden: Hidden,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let mut watcher = Watcher::new(root, path, reach, hidden)?;
    wire.begin()?;
    let mut outbox = Outbox::new(path);
    loop {
        let tick = if watcher.waits_for_pairs() { SHORT_TICK_MS } else { TICK_MS };
        let ready = wait(&watcher, wire, &outbox, tick)?;
        if ready.contains(PollFlags::POLLIN) {
            watcher.read(root, &mut outbox)?;
        }
        watcher.give_up_pairs(&mut outbox);
        outbox.send(wire.socket())?;
        if watcher.state() == State::Gone && outbox.is_empty() {
            return Ok(FileDone::default());
        }
    }
}

/// `POLLIN` when there are events to read.
fn wait(watcher: &Watcher, wire: &Wire, outbox: &Outbox, tick: u16) -> Outcome<PollFlags> {
    let writable = if outbox.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
    let mut polled = [
        PollFd::new(watcher.inotify().as_fd(), PollFlags::POLLIN),
        PollFd::new(wire.socket().as_fd(), writable),
    ];
    match poll(&mut polled, PollTimeout::from(tick)) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    let [news, connection] = polled.map(|polled| polled.revents().unwrap_or(PollFlags::empty()));
    if connection.intersects(PollFlags::POLLHUP | PollFlags::POLLERR) {
        return Err(Stop::Gone);
    }
    Ok(news)
}
