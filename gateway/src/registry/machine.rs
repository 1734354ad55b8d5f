//! The states of one sandbox and the only function that changes them.
//!
//! ```text
//!              Launched                 Faulted
//!  Creating ─────────────▶ Running/Sound ──────▶ Running/Faulty
//!     │ LaunchFailed          │    │ Died, Missing   │   │
//!     ▼                       │    ▼                 │   │
//!   Failed                    │  Killed ◀────────────┘   │
//!     │                       │    │                     │
//!     │        Delete         ▼    ▼                     │
//!     └──────────────────▶ Deleting ◀────────────────────┘      (then the entry is dropped)
//! ```
//!
//! Public words: `Creating` and `Running/Sound` are `running`, `Running/Faulty` and `Failed` are `error`,
//! `Killed` is `killed`, `Deleting` does not exist any more (404). Must never do I/O.

/// Where a sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// The runtime or the agent has not answered yet. `ended` is the last launch that is known to be over:
    /// the news of a death may overtake that of the birth.
    Creating { ended: u32 },
    /// The agent of this launch answers.
    Running { launch: u32, health: Health },
    /// The agent died; the disk is there.
    Killed,
    /// It never ran.
    Failed,
    /// Somebody deletes it.
    Deleting,
}

/// Whether the agent kept to the protocol so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Sound,
    Faulty,
}

/// What can happen to a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The agent said hello, or the runtime lists it as running.
    Launched { launch: u32 },
    /// It could not be made, though its client was told that it will be.
    LaunchFailed,
    /// The runtime saw the agent of this launch end.
    Died { launch: u32 },
    /// The runtime does not know it.
    Missing,
    /// The agent broke the protocol.
    Faulted,
    /// A client or the reconciliation wants it gone.
    Delete,
}

/// Why an event changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A create is under way; wait for its end.
    Creating,
    /// It is being deleted already.
    Deleting,
    /// The event is about an earlier launch, or says what is known.
    Stale,
}

impl State {
    /// A sandbox of which nothing is known yet.
    pub(crate) const NEW: Self = Self::Creating { ended: 0 };

    pub(crate) fn is_creating(self) -> bool {
        matches!(self, Self::Creating { .. })
    }

    pub(crate) fn is_running(self) -> bool {
        matches!(self, Self::Running { .. })
    }

    /// The state after `event`.
    pub(crate) fn after(self, event: Event) -> Result<Self, Refusal> {
        match (self, event) {
            (Self::Deleting, _) => Err(Refusal::Deleting),
            (Self::Creating { .. }, Event::Delete) => Err(Refusal::Creating),
            (_, Event::Delete) => Ok(Self::Deleting),
            (Self::Creating { ended }, Event::Launched { launch }) if launch <= ended => Ok(Self::Killed),
            (Self::Creating { .. }, Event::Launched { launch }) => {
                Ok(Self::Running { launch, health: Health::Sound })
            }
            (Self::Creating { ended }, Event::Died { launch }) if launch > ended => {
                Ok(Self::Creating { ended: launch })
            }
            (Self::Running { launch: now, .. }, Event::Launched { launch }) if launch > now => {
                Ok(Self::Running { launch, health: Health::Sound })
            }
            (Self::Creating { .. }, Event::LaunchFailed) => Ok(Self::Failed),
            (Self::Running { launch: now, .. }, Event::Died { launch }) if launch >= now => Ok(Self::Killed),
            (Self::Running { .. }, Event::Missing) => Ok(Self::Killed),
            (Self::Running { launch, health: Health::Sound }, Event::Faulted) => {
                Ok(Self::Running { launch, health: Health::Faulty })
            }
            (
                Self::Creating { .. } | Self::Running { .. } | Self::Killed | Self::Failed,
                Event::Launched { .. }
                | Event::LaunchFailed
                | Event::Died { .. }
                | Event::Missing
                | Event::Faulted,
            ) => Err(Refusal::Stale),
        }
    }
}
