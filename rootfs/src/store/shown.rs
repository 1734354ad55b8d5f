//! Views of directories of the host that the operator shows to sandboxes.

use super::Store;
use crate::error::Result;
use crate::overlay;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

impl Store {
    /// The directory `dir` of the host, read-only and detached, with inodes that nobody else has: what a sandbox
    /// connects to, locks, watches or writes into in there is its own. Owners are the host's, none of which a sandbox
    /// has. What is mounted below `dir` is not in it.
    ///
    /// # Errors
    /// As mount(2); `EINVAL` where no overlay can be made of the file system, as of one without upper and lower
    /// case, of one that mounts others by itself, or of two overlays on top of each other.
    pub fn show(&self, dir: BorrowedFd<'_>) -> Result<OwnedFd> {
        overlay::shown(dir, self.nothing.as_fd(), &self.passing)
    }
}
