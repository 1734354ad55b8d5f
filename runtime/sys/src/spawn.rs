//! Clones a child that runs a list of ops, and reads how that went.

use crate::call::exec::{self, Side};
use crate::error::{Context, Result};
use crate::op::Op;
use crate::report::{self, Failure};
use nix::fcntl::OFlag;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A child on its way to its program.
#[derive(Debug)]
pub struct Child {
    /// Its pid as the caller sees it.
    pub pid: i32,
    /// Its identity: does not pass to a later process of the same number.
    pub pidfd: OwnedFd,
    report: OwnedFd,
}

/// Clones into new namespaces (`call::exec::namespace`) and, where given, straight into a v2 cgroup; the child
/// runs the ops, the last of which executes a program.
///
/// Safe in any process: the child shares no memory with it, and between clone and exec it runs ops only, which
/// neither allocate nor lock.
///
/// # Errors
/// As pipe2(2) and clone3(2).
pub fn spawn(ops: &[Op<'_>], namespaces: u64, cgroup: Option<BorrowedFd<'_>>) -> Result<Child> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC).during("pipe2", String::new)?;
    // SAFETY: clone asks for one thread, or for a child that makes async-signal-safe calls only until it
    // executes a program or exits; `child::run` does nothing else.
    match unsafe { exec::clone(namespaces, cgroup) }.during("clone3", || format!("{namespaces:#x}"))? {
        Side::Child => crate::child::run(ops, writer.as_fd()),
        Side::Parent(pid, pidfd) => Ok(Child { pid, pidfd, report: reader }),
    }
}

/// What became of the setup of a child.
#[derive(Debug)]
pub enum Outcome {
    /// Its program runs (and so does that of its init, where it has one).
    Executed {
        /// Its pid as the caller sees it.
        pid: i32,
        /// Its identity.
        pidfd: OwnedFd,
    },
    /// A step failed; the child ends by itself, but it has to be waited for.
    Failed {
        /// Which and why.
        failure: Failure,
        /// Its identity.
        pidfd: OwnedFd,
    },
}

impl Child {
    /// Blocks until the child executed its program or failed. A child that was killed meanwhile counts as
    /// executed: who waits for it learns of its end in the ordinary way.
    ///
    /// # Errors
    /// The I/O error of the report pipe.
    pub fn wait_for_exec(self) -> Result<Outcome> {
        let Self { pid, pidfd, report } = self;
        match report::wait(report).during("read", || "report of a child".into())? {
            Some(failure) => Ok(Outcome::Failed { failure, pidfd }),
            None => Ok(Outcome::Executed { pid, pidfd }),
        }
    }

    /// The reading end of the report, for callers that poll.
    #[must_use]
    pub fn report(&self) -> BorrowedFd<'_> {
        self.report.as_fd()
    }
}
