//! One sandbox in the memory of the runtime.
//!
//! ```text
//!   Create ──▶ Launching ──exec──▶ Running ──agent ended──▶ Dead
//!                  │                  │                      │
//!                  └──── failed ──────┴──────── Destroy ─────┤
//!                                                            ▼
//!                                                         Ending ──nothing lives──▶ (gone)
//! ```
//!
//! Each state owns what exists in it; there is nothing to remember besides.

use crate::conn::Waiter;
use crate::launch::{Clock, Mapped};
use crate::record::Record;
use bulkhead_protocol::runtime::Reply;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// A sandbox and how far it is.
#[derive(Debug)]
pub(crate) enum Sandbox {
    /// Its processes set themselves up.
    Launching {
        mapped: Box<Mapped>,
        clock: Clock,
        /// Who asked.
        waiter: Waiter,
        /// When it has to be done.
        until: Instant,
    },
    /// Its agent lives. One descriptor for each of thousands: its groups are found by name when they are needed.
    Running { record: Record, pidfd: OwnedFd },
    /// Its agent ended, its disk is kept.
    Dead { record: Record },
    /// It is being destroyed.
    Ending(Ending),
}

/// A sandbox whose processes were killed and may not all be gone.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) record: Record,
    /// `cgroup.events` of its group; kept open, since closing ends the watch.
    pub(crate) events: Option<OwnedFd>,
    /// Its agent, if it is a child of ours that nobody reaped.
    pub(crate) pidfd: Option<OwnedFd>,
    /// Who is told what once nothing lives any more.
    pub(crate) waiters: Vec<(Waiter, Reply)>,
    /// When it was killed last.
    pub(crate) killed: Instant,
    /// How far it is.
    pub(crate) stage: Stage,
    /// Set when a step failed: not tried again before this.
    pub(crate) not_before: Option<Instant>,
}

/// How far the end of a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Something may live.
    Dying,
    /// Nothing lives, the disk is out of reach, whoever waited was told. Zombies and empty groups may be left.
    Clearing,
}

impl Sandbox {
    pub(crate) fn record(&self) -> &Record {
        match self {
            Sandbox::Launching { mapped, .. } => mapped.record(),
            Sandbox::Running { record, .. } | Sandbox::Dead { record } => record,
            Sandbox::Ending(ending) => &ending.record,
        }
    }
}
