//! Records of sandboxes: one file per id in the run directory, written before the first side effect.
//!
//! They lie on tmpfs and are not flushed: a power cut takes the kernel's state with it. A record that cannot be
//! read is set aside, never guessed at.

mod directory;

use crate::digests::Digests;
use crate::ids::Slot;
use bulkhead_protocol::image::ImageId;
use bulkhead_protocol::runtime::Disk;
use bulkhead_protocol::{Limits, SandboxId};
pub(crate) use directory::Records;
use oci_spec::runtime::Mount;
use serde::{Deserialize, Serialize};
use std::fs;

/// What is known of the mounts of a sandbox.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Listed {
    /// A release that wrote none of them down launched it.
    #[default]
    Nothing,
    /// [`Record::mounts`] are all of them.
    Mounts,
}

/// Everything that must be known about a sandbox after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) id: SandboxId,
    pub(crate) slot: Slot,
    pub(crate) image: ImageId,
    pub(crate) limits: Limits,
    /// Numbers of the processors that it runs on.
    pub(crate) processors: Vec<usize>,
    /// The filters that were installed; empty names in records of a release that did not write them down.
    #[serde(default)]
    pub(crate) filters: Digests,
    /// Mounts that came with its root, and those that the operator shows.
    #[serde(default)]
    pub(crate) mounts: Vec<Mount>,
    #[serde(default)]
    pub(crate) listed: Listed,
    /// Numbers of system calls that the operator denies its commands.
    #[serde(default)]
    pub(crate) denied: Vec<u32>,
    /// Counts the launches of this sandbox, from 1.
    pub(crate) launch: u32,
    /// Which boot of the host this was written in.
    pub(crate) boot: String,
    pub(crate) phase: Phase,
}

/// How far the sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Something of it may exist; nobody was told that it does.
    Launching(Disk),
    /// Its agent was executed.
    Running(Identity),
    /// Everything in it was told to end.
    Ending(Fate),
}

/// What becomes of the disk when a sandbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// Another launch may use it.
    Keep,
    /// Nobody sees it again.
    Discard,
}

impl Fate {
    /// Of the disk of a launch that failed: only what was made for it goes with it.
    pub(crate) fn of_failed(disk: Disk) -> Self {
        match disk {
            Disk::New => Self::Discard,
            Disk::Kept => Self::Keep,
        }
    }
}

impl Phase {
    /// What becomes of the disk when this is found and nothing runs.
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Phase::Launching(disk) => Fate::of_failed(*disk),
            Phase::Running(_) => Fate::Keep,
            Phase::Ending(fate) => *fate,
        }
    }
}

/// Which process a pid meant: numbers are used again, this pair is not within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Field 22 of /proc/PID/stat, in clock ticks since boot.
    pub(crate) start_time: u64,
}

impl Identity {
    /// Reads who has this pid now; `None` when nobody has.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::from_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The same from the text of its `stat`.
    pub(crate) fn from_stat(pid: i32, stat: &str) -> Option<Self> {
        // The command name, in parentheses, may hold anything: count from the last one.
        let after_name = stat.rsplit_once(')')?.1;
        let start_time = after_name.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, start_time })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_an_identity_and_pid_zero_has_none() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Identity::of(pid), Identity::of(pid));
        assert!(Identity::of(pid).is_some());
        assert_eq!(Identity::of(0), None);
    }
}
