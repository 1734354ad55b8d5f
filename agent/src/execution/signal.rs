//! Signals for every process of a leaf, and for none that is not in it.

use super::leaf::Leaf;
use crate::capability;
use bulkhead_protocol::agent::{SignalFailure, SignalFailureKind};
use bulkhead_sys::{Error, caps, pidfd};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// Processes that are held by descriptor at once.
const BATCH: usize = 32;
/// Looks for processes that were born meanwhile. A tree that forks faster is not caught up with: that is what
/// kill is for.
const LOOKS: usize = 4;

/// Signals every process of the leaf once. One that ends meanwhile needs none.
///
/// # Errors
/// The first of the leaf's list, or of a signal; the others are sent all the same.
pub(crate) fn every(leaf: &Leaf, number: i32) -> Result<(), Error> {
    let mut signalled = BTreeSet::new();
    let mut outcome = Ok(());
    for _ in 0..LOOKS {
        let new: Vec<i32> = leaf.processes()?.difference(&signalled).copied().collect();
        if new.is_empty() {
            break;
        }
        for batch in new.chunks(BATCH) {
            outcome = outcome.and(some(leaf, batch, number));
        }
        signalled.extend(new);
    }
    outcome
}

/// A number is looked up in the list again *after* its process was opened: if that number is still in the leaf,
/// the descriptor is either that process or one that is dead.
fn some(leaf: &Leaf, pids: &[i32], number: i32) -> Result<(), Error> {
    let mut opened = Vec::new();
    for pid in pids {
        match pidfd::open(*pid) {
            Ok(process) => opened.push((*pid, process)),
            Err(error) if error.errno == Errno::ESRCH => {}
            Err(error) => return Err(error),
        }
    }
    let members = leaf.processes()?;
    // Commands have other ids than the agent.
    capability::with(caps::KILL, || {
        let mut outcome = Ok(());
        for (_, process) in opened.iter().filter(|(pid, _)| members.contains(pid)) {
            outcome = outcome.and(unless_dead(pidfd::signal(process.as_fd(), number)));
        }
        outcome
    })
}

fn unless_dead(sent: Result<(), Error>) -> Result<(), Error> {
    match sent {
        Err(error) if error.errno == Errno::ESRCH => Ok(()),
        sent => sent,
    }
}

/// What the protocol says of it.
pub(crate) fn failure(error: &Error) -> SignalFailure {
    let kind = match error.errno {
        // The leaf itself is gone.
        Errno::ENODEV | Errno::ENOENT => SignalFailureKind::Ending,
        Errno::EPERM | Errno::EACCES => SignalFailureKind::Denied,
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => SignalFailureKind::NoResources,
        _ => SignalFailureKind::Internal,
    };
    SignalFailure { kind, errno: error.errno as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_sys::error::Context;

    fn failed(errno: Errno) -> Result<(), Error> {
        Err(errno).during("signal", String::new)
    }

    #[test]
    fn a_process_that_ends_first_is_no_failure_and_all_others_have_a_word() {
        assert!(unless_dead(failed(Errno::ESRCH)).is_ok());
        for (errno, kind) in [
            (Errno::EPERM, SignalFailureKind::Denied),
            (Errno::ENODEV, SignalFailureKind::Ending),
            (Errno::EMFILE, SignalFailureKind::NoResources),
            (Errno::EIO, SignalFailureKind::Internal),
        ] {
            let error = unless_dead(failed(errno)).unwrap_err();
            assert_eq!(failure(&error), SignalFailure { kind, errno: errno as i32 });
        }
    }
}
