//! Tells whoever asked for an import how it goes. Nobody is waited for: what the other side has no room for is left out.

use bulkhead_protocol::image::ImportProgress;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// The least time between two lines of one layer.
const INTERVAL: Duration = Duration::from_millis(100);

/// A pipe or a file that gets one JSON line for each step.
#[derive(Debug)]
pub struct Progress {
    out: OwnedFd,
    last: Option<Instant>,
}

impl Progress {
    /// Takes a pipe or a regular file.
    #[must_use]
    pub fn new(out: OwnedFd) -> Self {
        Self { out, last: None }
    }

    /// Writes one line.
    pub fn tell(&self, what: &ImportProgress) {
        let mut fds = [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)];
        // A pipe that is ready takes as much as a line has (pipe(7)) without making anybody wait.
        if poll(&mut fds, PollTimeout::ZERO) != Ok(1) {
            return;
        }
        let Ok(mut line) = serde_json::to_vec(what) else { return };
        line.push(b'\n');
        match nix::unistd::write(&self.out, &line) {
            // Nobody has to listen.
            Ok(_) | Err(_) => {}
        }
    }

    /// Writes one line, unless there was one a moment ago.
    pub(crate) fn tell_now_and_then(&mut self, what: &dyn Fn() -> ImportProgress) {
        if self.last.is_none_or(|last| last.elapsed() > INTERVAL) {
            self.last = Some(Instant::now());
            self.tell(&what());
        }
    }
}
