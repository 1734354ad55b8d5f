//! The states of one sandbox, the only function that changes them, and the way from each to where somebody wants it.
//!
//! ```text
//!              Launched              Sleep               Stopped            Wake
//!  Creating ───────────▶ Running ───────────▶ Sleeping ──────────▶ Asleep ──────────▶ Waking ─▶ Running
//!     │                   ▲   │ Freeze           ▲ Sleep                               │ ▲   (or back, LaunchFailed)
//!     │ LaunchFailed      │   ▼                  │                                     │ │ Wake
//!     ▼            Thawed │ Freezing ──Froze──▶ Frozen                                 │ Killed, Failed
//!   Failed                │   │ FreezeFailed     │ Thaw
//!                         └─ Thawing ◀───────────┘
//!
//!  Died:   Running, Freezing, Frozen, Thawing ─▶ Killed; remembered while Creating and Waking
//!  Seen:   what the runtime says of a launch, where no transition is under way
//!  Delete: from Sleeping, and from every state in which no transition is under way ─▶ Deleting (then the entry is dropped)
//!  Withdrawn: from Creating ─▶ Deleting; so nobody else ever sees a create that failed and is taken back
//! ```
//!
//! Whoever wins the event into a state in `-ing` drives it out of there; everybody else waits. Every launch has a number,
//! which rises by one and is never used again; news of another launch change nothing. Must never do I/O.

mod news;
mod way;

pub(crate) use way::{Goal, Obstacle, Way};

/// Where a sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is launched for the first time.
    Creating(Birth),
    /// The agent of this launch answers.
    Running(Run),
    /// Its processes are being ended; the disk is kept.
    Sleeping { launch: u32 },
    /// Nothing runs; the disk is there.
    Asleep { launch: u32 },
    /// It is launched again.
    Waking { birth: Birth, from: Rest },
    /// Its processes are being stopped where they are.
    Freezing(Run),
    /// Its processes get no time.
    Frozen(Run),
    /// Its processes are given time again.
    Thawing(Run),
    /// The agent died; the disk is there.
    Killed { launch: u32 },
    /// It never ran.
    Failed { launch: u32 },
    /// Somebody deletes it.
    Deleting,
}

/// A launch under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) launch: u32,
    pub(crate) fate: Fate,
}

/// Whether a launch under way is known to be over: the news of a death may overtake that of the birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Open,
    Died,
}

/// A launch that happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) launch: u32,
    pub(crate) health: Health,
}

/// Whether the agent kept to the protocol so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Sound,
    Faulty,
}

/// Where a launch that fails leads back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    Asleep,
    Killed,
    Failed,
}

/// Whether processes get time, as the runtime says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Motion {
    Moving,
    Still,
}

/// What can happen to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The agent of this launch said hello.
    Launched { launch: u32 },
    /// This launch could not be made, and nothing of it runs.
    LaunchFailed { launch: u32 },
    /// This first launch could not be made, and what there is of the sandbox goes.
    Withdrawn { launch: u32 },
    /// It shall end its processes.
    Sleep,
    /// Nothing of this launch runs any more.
    Stopped { launch: u32 },
    /// It shall be launched again.
    Wake,
    /// Its processes shall stand still.
    Freeze,
    /// They do.
    Froze { launch: u32 },
    /// It is not known whether they do: they shall not.
    FreezeFailed { launch: u32 },
    /// Its processes shall go on.
    Thaw,
    /// They do.
    Thawed { launch: u32 },
    /// The runtime saw the agent of this launch end, or does not know it.
    Died { launch: u32 },
    /// The runtime lists this launch.
    Seen { launch: u32, motion: Motion },
    /// The agent broke the protocol.
    Faulted,
    /// A client or the reconciliation wants it gone.
    Delete,
}

/// Why an event changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A transition is under way; wait for its end.
    Busy,
    /// It is being deleted already.
    Deleting,
    /// The event is about another launch, or says what is known.
    Stale,
}

impl Birth {
    pub(crate) fn of(launch: u32) -> Self {
        Self { launch, fate: Fate::Open }
    }
}

impl Run {
    pub(crate) fn sound(launch: u32) -> Self {
        Self { launch, health: Health::Sound }
    }
}

impl Rest {
    fn state(self, launch: u32) -> State {
        match self {
            Self::Asleep => State::Asleep { launch },
            Self::Killed => State::Killed { launch },
            Self::Failed => State::Failed { launch },
        }
    }
}

impl State {
    /// A sandbox that is launched for the first time.
    pub(crate) const NEW: Self = Self::Creating(Birth { launch: 1, fate: Fate::Open });

    /// Whether somebody drives it to another state.
    pub(crate) fn is_busy(self) -> bool {
        matches!(
            self,
            Self::Creating(_)
                | Self::Sleeping { .. }
                | Self::Waking { .. }
                | Self::Freezing(_)
                | Self::Thawing(_)
        )
    }

    /// The launch whose processes exist, whether they get time or not.
    pub(crate) fn run(self) -> Option<Run> {
        match self {
            Self::Running(run) | Self::Freezing(run) | Self::Frozen(run) | Self::Thawing(run) => Some(run),
            Self::Creating(_)
            | Self::Sleeping { .. }
            | Self::Asleep { .. }
            | Self::Waking { .. }
            | Self::Killed { .. }
            | Self::Failed { .. }
            | Self::Deleting => None,
        }
    }

    /// Whether nothing of it runs, nor will by itself.
    pub(crate) fn is_at_rest(self) -> bool {
        matches!(self, Self::Asleep { .. } | Self::Killed { .. } | Self::Failed { .. })
    }

    /// Whether a list has it: what was killed or is being deleted is left out (contract §3.3).
    pub(crate) fn is_listed(self) -> bool {
        !matches!(self, Self::Killed { .. } | Self::Deleting)
    }

    /// Whether an agent may be silent because it gets no time.
    pub(crate) fn is_still(self) -> bool {
        matches!(self, Self::Freezing(_) | Self::Frozen(_) | Self::Thawing(_))
    }

    /// The state after `event`.
    pub(crate) fn after(self, event: Event) -> Result<Self, Refusal> {
        match (self, event) {
            (Self::Deleting, _) => Err(Refusal::Deleting),
            (_, Event::Delete) if self.is_busy() && !matches!(self, Self::Sleeping { .. }) => {
                Err(Refusal::Busy)
            }
            (_, Event::Delete) => Ok(Self::Deleting),
            (Self::Creating(birth) | Self::Waking { birth, .. }, _) => self.born(birth, event),
            (Self::Sleeping { launch }, Event::Stopped { launch: told }) if told == launch => {
                Ok(Self::Asleep { launch })
            }
            (Self::Asleep { launch }, _) => Self::rested(launch, Rest::Asleep, event),
            (Self::Killed { launch }, _) => Self::rested(launch, Rest::Killed, event),
            (Self::Failed { launch }, _) => Self::rested(launch, Rest::Failed, event),
            (
                Self::Running(run) | Self::Freezing(run) | Self::Frozen(run) | Self::Thawing(run),
                Event::Died { launch },
            ) if launch == run.launch => Ok(Self::Killed { launch }),
            (Self::Running(_) | Self::Frozen(_), Event::Seen { launch, motion }) => self.seen(launch, motion),
            (Self::Running(Run { launch, health: Health::Sound }), Event::Faulted) => {
                Ok(Self::Running(Run { launch, health: Health::Faulty }))
            }
            (Self::Running(Run { launch, .. }) | Self::Frozen(Run { launch, .. }), Event::Sleep) => {
                Ok(Self::Sleeping { launch })
            }
            (Self::Running(run), Event::Freeze) => Ok(Self::Freezing(run)),
            (Self::Freezing(run), Event::Froze { launch }) if launch == run.launch => Ok(Self::Frozen(run)),
            (Self::Freezing(run), Event::FreezeFailed { launch }) if launch == run.launch => {
                Ok(Self::Thawing(run))
            }
            (Self::Frozen(run), Event::Thaw) => Ok(Self::Thawing(run)),
            (Self::Thawing(run), Event::Thawed { launch }) if launch == run.launch => Ok(Self::Running(run)),
            (
                Self::Running(_)
                | Self::Sleeping { .. }
                | Self::Freezing(_)
                | Self::Frozen(_)
                | Self::Thawing(_),
                _,
            ) => Err(Refusal::Stale),
        }
    }

    /// The news of a launch under way.
    fn born(self, birth: Birth, event: Event) -> Result<Self, Refusal> {
        let launch = birth.launch;
        match event {
            Event::Launched { launch: told } if told == launch => match (birth.fate, self) {
                (Fate::Open, _) => Ok(Self::Running(Run::sound(launch))),
                (Fate::Died, Self::Waking { .. }) => Ok(Self::Killed { launch }),
                // A first launch that died before it was ready has failed; what becomes of it says who drives it.
                (Fate::Died, _) => Err(Refusal::Stale),
            },
            Event::Withdrawn { launch: told } if told == launch && matches!(self, Self::Creating(_)) => {
                Ok(Self::Deleting)
            }
            Event::LaunchFailed { launch: told } if told == launch => Ok(match self {
                Self::Waking { from, .. } => from.state(launch),
                _ => Self::Failed { launch },
            }),
            Event::Died { launch: told } if told == launch && birth.fate == Fate::Open => {
                let birth = Birth { launch, fate: Fate::Died };
                Ok(match self {
                    Self::Waking { from, .. } => Self::Waking { birth, from },
                    _ => Self::Creating(birth),
                })
            }
            _ => Err(Refusal::Stale),
        }
    }

    /// Where nothing runs: it can be launched, or turns out to run after all, as a launch that was cut in half.
    fn rested(launch: u32, rest: Rest, event: Event) -> Result<Self, Refusal> {
        match event {
            Event::Wake => Ok(Self::Waking { birth: Birth::of(launch.saturating_add(1)), from: rest }),
            Event::Seen { launch: told, motion } if told >= launch => Ok(match motion {
                Motion::Moving => Self::Running(Run::sound(told)),
                Motion::Still => Self::Frozen(Run::sound(told)),
            }),
            _ => Err(Refusal::Stale),
        }
    }

    /// The runtime's word against ours.
    fn seen(self, launch: u32, motion: Motion) -> Result<Self, Refusal> {
        let Some(run) = self.run().filter(|run| launch >= run.launch) else { return Err(Refusal::Stale) };
        let run = if launch == run.launch { run } else { Run::sound(launch) };
        let next = match motion {
            Motion::Moving => Self::Running(run),
            Motion::Still => Self::Frozen(run),
        };
        if next == self { Err(Refusal::Stale) } else { Ok(next) }
    }
}
