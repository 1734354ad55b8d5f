//! Where somebody wants a sandbox, and the first step from where it stands. A longer way is walked step by step.

use super::{Event, Health, State};
use crate::quota::Over;

/// What a request, or the clock, wants of a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Its agent answers; a dead one stays dead.
    Awake,
    /// Its agent answers, whatever has happened; one that broke the protocol is launched anew.
    Started,
    /// Nothing runs, the disk is kept.
    Asleep,
    /// Its processes stand still.
    Frozen,
    /// Its processes do not stand still.
    Thawed,
}

/// How to come closer to a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    There,
    Step(Event),
    /// Somebody drives it; look again when that is over.
    Wait,
    No(Obstacle),
}

/// Why a goal cannot be reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Obstacle {
    Killed,
    Failed,
    /// What sleeps has no processes that could stand still.
    Asleep,
    Deleting,
    /// The organisation has no processors or memory left for it.
    Over(Over),
}

impl State {
    /// The first step to `goal`.
    pub(crate) fn toward(self, goal: Goal) -> Way {
        match (self, goal) {
            (Self::Deleting, _) => Way::No(Obstacle::Deleting),
            _ if self.is_busy() => Way::Wait,
            (Self::Running(run), Goal::Started) if run.health == Health::Faulty => Way::Step(Event::Sleep),
            (Self::Running(_), Goal::Awake | Goal::Started | Goal::Thawed)
            | (Self::Frozen(_), Goal::Frozen)
            | (Self::Asleep { .. }, Goal::Asleep) => Way::There,
            (Self::Running(_) | Self::Frozen(_), Goal::Asleep) => Way::Step(Event::Sleep),
            (Self::Running(_), Goal::Frozen) => Way::Step(Event::Freeze),
            (Self::Frozen(_), Goal::Awake | Goal::Started | Goal::Thawed) => Way::Step(Event::Thaw),
            (Self::Asleep { .. }, Goal::Awake | Goal::Started)
            | (Self::Killed { .. } | Self::Failed { .. }, Goal::Started) => Way::Step(Event::Wake),
            (Self::Asleep { .. }, Goal::Frozen | Goal::Thawed) => Way::No(Obstacle::Asleep),
            (Self::Killed { .. }, _) => Way::No(Obstacle::Killed),
            (Self::Failed { .. }, _) => Way::No(Obstacle::Failed),
            // Busy ones, which are waited for above.
            (
                Self::Creating(_)
                | Self::Sleeping { .. }
                | Self::Waking { .. }
                | Self::Freezing(_)
                | Self::Thawing(_),
                _,
            ) => Way::Wait,
        }
    }
}
