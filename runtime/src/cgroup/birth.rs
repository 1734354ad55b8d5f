//! Whether a child of this process survives its clone into another cgroup.
//!
//! On Linux 6.18 the kernel kills it at birth when the caller's group was killed (`cgroup.kill`) a different number of
//! times than the target: a service that is restarted in a group that was killed once could launch nothing, and no
//! call would fail. So it is tried at start, and where it fails this process moves into a group of its own.

use super::{Groups, make, remove_directory, write};
use crate::error::{Doing, Error, Result};
use bulkhead_sys::error::Context;
use bulkhead_sys::pidfd::{self, Exit};
use bulkhead_sys::spawn::spawn;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;

/// Beginning of the names of groups that a runtime moved into; no sandbox is called so.
const OWN: &str = "runtime-";
/// How long the end of a child that does nothing may take, in milliseconds.
const PATIENCE_MS: u16 = 5000;

/// Whether a group is a runtime's, not a sandbox's.
pub(super) fn is_runtimes_own(name: &str) -> bool {
    name.starts_with(OWN)
}

impl Groups {
    /// Makes sure that launches work.
    ///
    /// # Errors
    /// [`Error::HostLacks`] when a child dies even then.
    pub(crate) fn ensure_births(&self) -> Result<()> {
        self.remove_old_homes()?;
        if self.survives()? {
            return Ok(());
        }
        let name = format!("{OWN}{}", std::process::id());
        let home = make(self.unified.as_fd(), &name).doing("make a cgroup for the runtime")?;
        // Waits for an RCU grace period, which is why nothing else here ever writes to this file.
        write(home.as_fd(), "cgroup.procs", b"0").doing("move the runtime")?;
        tracing::warn!(name, "moved into a cgroup of our own: the old one was killed before");
        if self.survives()? { Ok(()) } else { Err(Error::HostLacks("clones into a cgroup")) }
    }

    /// Removes the groups of runtimes that are gone.
    pub(crate) fn remove_old_homes(&self) -> Result<()> {
        for name in self.list()?.iter().filter(|name| is_runtimes_own(name)) {
            remove_directory(self.unified.as_fd(), name).doing("remove the cgroup of an old runtime")?;
        }
        Ok(())
    }

    fn survives(&self) -> Result<bool> {
        let name = format!("{OWN}probe");
        remove_directory(self.unified.as_fd(), &name).doing("remove a cgroup")?;
        let group = make(self.unified.as_fd(), &name).doing("make a cgroup")?;
        // It has nothing to do and ends by itself; only a signal can have been somebody else's.
        let child = spawn(&[], 0, Some(group.as_fd())).doing("clone into a cgroup")?;
        let mut ended = [PollFd::new(child.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, PollTimeout::from(PATIENCE_MS))
            .during("poll", || "pidfd".into())
            .doing("wait for a child")?;
        let exit = pidfd::try_wait(child.pidfd.as_fd()).doing("wait for a child")?;
        remove_directory(self.unified.as_fd(), &name).doing("remove a cgroup")?;
        Ok(matches!(exit, Some(Exit::Code(_))))
    }
}
