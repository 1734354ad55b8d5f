//! Signals for every process of a leaf, and for none that is not in it.

use super::leaf::Leaf;
use crate::capability;
use bulkhead_sys::{Error, caps, pidfd};
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::os::fd::AsFd;

/// Processes that are held by descriptor at once.
const BATCH: usize = 32;
/// Looks for processes that were born meanwhile. A tree that forks faster is not caught up with: that is what
/// kill is for.
const LOOKS: usize = 4;

/// Signals every process of the leaf once.
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
            outcome = outcome.and(pidfd::signal(process.as_fd(), number));
        }
        outcome
    })
}
