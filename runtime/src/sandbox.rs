//! One sandbox in the memory of the runtime.
//!
//! ```text
//!   Create ──▶ Launching ──exec──▶ Running ◀──▶ (frozen, as the kernel says)
//!                  │                  │
//!               failed      Stop, Destroy, agent ended
//!                  ▼                  ▼
//!               Ending { fate of the disk } ──nothing lives──▶ (gone, or nothing but a disk)
//! ```
//!
//! Each state owns what exists in it; there is nothing to remember besides. What does not run is a disk and nothing
//! else: the runtime knows no stopped sandboxes.

use crate::cgroup::Events;
use crate::conn::Waiter;
use crate::launch::{Clock, Mapped};
use crate::record::{Fate, Record};
use bulkhead_protocol::runtime::{CreateSandbox, Life, Reply};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// First pause before something unfinished is looked at again when no event came.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// Longest of them, each is twice the one before; and the pause after a step that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
    Running {
        record: Record,
        pidfd: OwnedFd,
        /// Set while its processes come to a stand or go on again.
        turning: Option<Box<Turning>>,
    },
    /// Everything in it was told to end.
    Ending(Box<Ending>),
}

/// A freeze or a thaw that the kernel has not confirmed.
#[derive(Debug)]
pub(crate) struct Turning {
    /// What is being waited for.
    pub(crate) to: Life,
    /// `cgroup.events` of its group; kept open, since closing ends the watch.
    pub(crate) events: Events,
    /// Who is told.
    pub(crate) waiters: Vec<Waiter>,
    /// When it has to be done.
    pub(crate) until: Instant,
}

/// A sandbox whose processes were killed and may not all be gone.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) record: Record,
    /// What becomes of its disk.
    pub(crate) fate: Fate,
    /// `cgroup.events` of its group; kept open, since closing ends the watch.
    pub(crate) events: Option<Events>,
    /// Its agent, if it is a child of ours that nobody reaped.
    pub(crate) pidfd: Option<OwnedFd>,
    /// Who is told what once nothing lives any more.
    pub(crate) waiters: Vec<(Waiter, Reply)>,
    /// When it was killed last.
    pub(crate) killed: Instant,
    /// How far it is.
    pub(crate) stage: Stage,
    /// A launch that begins when all of this one is gone.
    pub(crate) next: Option<(Waiter, CreateSandbox)>,
    /// When it is looked at again, if no event comes before.
    pub(crate) again: Again,
}

/// How far the end of a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Something may live.
    Dying,
    /// Nothing lives, the disk has met its fate, whoever waited was told. Zombies and empty groups may be left.
    Clearing,
}

/// Looks that come less and less often, so that what is stuck costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again {
    at: Instant,
    pause: Duration,
}

impl Again {
    /// When the next look is due.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// The first look is due after a moment.
    pub(crate) fn soon() -> Self {
        Self { at: Instant::now() + FIRST_PAUSE, pause: FIRST_PAUSE }
    }

    /// Nothing had changed.
    pub(crate) fn later(&mut self) {
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.at = Instant::now() + self.pause;
    }

    /// A step failed: what could not be done now can hardly be done at once.
    pub(crate) fn after_failure(&mut self) {
        self.pause = LONGEST_PAUSE;
        self.at = Instant::now() + self.pause;
    }
}

impl Ending {
    /// The end of a sandbox whose group has just been killed.
    pub(crate) fn begin(record: Record, fate: Fate, events: Option<Events>) -> Self {
        Self {
            record,
            fate,
            events,
            pidfd: None,
            waiters: Vec::new(),
            killed: Instant::now(),
            stage: Stage::Dying,
            next: None,
            again: Again::soon(),
        }
    }
}

impl Sandbox {
    pub(crate) fn record(&self) -> &Record {
        match self {
            Sandbox::Launching { mapped, .. } => mapped.record(),
            Sandbox::Running { record, .. } => record,
            Sandbox::Ending(ending) => &ending.record,
        }
    }

    /// When it has to be looked at without an event; `None` for what is as it should be.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Sandbox::Launching { until, .. } => Some(*until),
            Sandbox::Running { turning, .. } => turning.as_ref().map(|turning| turning.until),
            Sandbox::Ending(ending) => Some(ending.again.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_change_is_looked_at_less_and_less_often() {
        let mut again = Again::soon();
        let mut looks = 0;
        while again.pause < LONGEST_PAUSE {
            again.later();
            looks += 1;
        }
        assert_eq!(looks, 10);
        again.later();
        assert!(again.pause == LONGEST_PAUSE && again.at > Instant::now() + LONGEST_PAUSE / 2);
    }
}
