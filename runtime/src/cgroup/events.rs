//! `cgroup.events`: whether anything lives in a group, and whether all of it stands still.

use crate::error::{Doing, Result};
use bulkhead_protocol::runtime::Life;
use bulkhead_sys::error::Context;
use bulkhead_sys::fd;
use nix::fcntl::OFlag;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// Longest text of the file in bytes: two lines.
const LONGEST: usize = 256;

/// The file, open. It polls as urgent from a change until it is read.
#[derive(Debug)]
pub(crate) struct Events(File);

/// What it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Something lives in the group or below, zombies aside.
    pub(crate) populated: bool,
    /// Whether it gets any time.
    pub(crate) life: Life,
}

impl Events {
    pub(super) fn open(group: BorrowedFd<'_>) -> Result<Self> {
        let file = super::open(group, "cgroup.events", OFlag::O_RDONLY).doing("open cgroup.events")?;
        // As many as sandboxes may end at once.
        Ok(Self(fd::park(file).into()))
    }

    /// Reads it; from here on it is silent until something changes.
    pub(crate) fn read(&self) -> Result<Seen> {
        let mut buffer = [0; LONGEST];
        let length = self
            .0
            .read_at(&mut buffer, 0)
            .during("pread", || "cgroup.events".into())
            .doing("read cgroup.events")?;
        Ok(Seen::parse(&String::from_utf8_lossy(&buffer[..length])))
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Seen {
    /// A line that is missing reads as one that nothing may be concluded from: alive, not frozen.
    fn parse(text: &str) -> Self {
        let says = |wanted: &str| text.lines().any(|line| line == wanted);
        let life = if says("frozen 1") { Life::Frozen } else { Life::Running };
        Self { populated: !says("populated 0"), life }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_said_is_concluded() {
        for (text, populated, life) in [
            ("populated 1\nfrozen 0\n", true, Life::Running),
            ("populated 1\nfrozen 1\n", true, Life::Frozen),
            ("populated 0\nfrozen 0\n", false, Life::Running),
            ("", true, Life::Running),
        ] {
            assert_eq!(Seen::parse(text), Seen { populated, life }, "{text:?}");
        }
    }
}
