//! What changes about a sandbox, under one lock: its state, and who is using it. So that "nobody uses it" and "it goes to
//! sleep" are one moment. Must never do I/O.

use super::machine::{Event, Goal, Obstacle, Refusal, State, Way};
use super::shelf::{Listed, Tally};
use crate::limits;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A state and its use.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    /// Rises with every change of the state.
    pub(super) version: u64,
    /// Requests and streams that need the agent.
    visits: u32,
    /// When the last of them went, or the agent came.
    idle_since: Instant,
    /// When its processes were given time again.
    thawed: Option<Instant>,
    /// The last launch that a sleep ended.
    slept: u32,
    /// Where it counts while a list has it; `None` before and after its time in the registry.
    tally: Option<Arc<Tally>>,
    listed: Option<Listed>,
}

/// What became of an attempt to come closer to a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Advance {
    There,
    /// The caller has won the transition into this state and must drive it.
    Begun(State),
    /// Somebody else drives it.
    Wait,
    No(Obstacle),
}

/// Why a launch is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Departure {
    Slept,
    Died,
}

impl Standing {
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            version: 0,
            visits: 0,
            idle_since: Instant::now(),
            thawed: None,
            slept: 0,
            tally: None,
            listed: None,
        }
    }

    /// It counts here from now on, or nowhere any more.
    pub(super) fn belong(&mut self, tally: Option<Arc<Tally>>) {
        self.tally = tally;
        self.listed = None;
        self.count();
    }

    /// Counts it exactly while a list has it.
    fn count(&mut self) {
        match &self.tally {
            Some(tally) if self.state.is_listed() => {
                self.listed.get_or_insert_with(|| Tally::take(tally));
            }
            Some(_) | None => self.listed = None,
        }
    }

    pub(super) fn apply(&mut self, event: Event) -> Result<State, Refusal> {
        let next = self.state.after(event)?;
        if let State::Sleeping { launch } = next {
            self.slept = launch;
        }
        if let State::Running(_) = next {
            self.idle_since = Instant::now();
        }
        if let (State::Thawing(_), State::Running(_)) = (self.state, next) {
            self.thawed = Some(Instant::now());
        }
        self.state = next;
        self.version += 1;
        self.count();
        Ok(next)
    }

    pub(super) fn advance(&mut self, goal: Goal) -> Advance {
        match self.state.toward(goal) {
            Way::There => Advance::There,
            Way::Wait => Advance::Wait,
            Way::No(obstacle) => Advance::No(obstacle),
            Way::Step(event) => self.apply(event).map_or(Advance::Wait, Advance::Begun),
        }
    }

    /// Begins a visit where the agent answers; gives its launch.
    pub(super) fn enter(&mut self) -> Option<u32> {
        let State::Running(run) = self.state else { return None };
        self.visits += 1;
        Some(run.launch)
    }

    /// Begins another beside one that goes on, wherever the state is by now.
    pub(super) fn enter_again(&mut self) {
        self.visits += 1;
    }

    pub(super) fn leave(&mut self) {
        self.visits = self.visits.saturating_sub(1);
        self.idle_since = Instant::now();
    }

    /// How long it has been running without a visit.
    pub(super) fn idle(&self) -> Option<Duration> {
        let idle = matches!(self.state, State::Running(_)) && self.visits == 0;
        idle.then(|| self.idle_since.elapsed())
    }

    /// Whether an agent that says nothing may simply get no time, or has got it again only now.
    pub(super) fn excuses_silence(&self) -> bool {
        self.state.is_still() || self.thawed.is_some_and(|then| then.elapsed() < limits::AGENT_SILENCE)
    }

    /// What became of a launch; `None` while its processes exist.
    pub(super) fn departure(&self, launch: u32) -> Option<Departure> {
        if self.state.run().is_some_and(|run| run.launch == launch) {
            return None;
        }
        Some(if self.slept >= launch { Departure::Slept } else { Departure::Died })
    }
}
