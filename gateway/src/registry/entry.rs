//! One sandbox in memory: what never changes, where it stands, and what its tenant may change.

use super::machine::{Event, Goal, Obstacle, Refusal, State, Way};
use super::shelf::Tally;
use super::standing::{Advance, Departure, Standing};
use crate::limits;
use crate::news::{Feed, Story};
use crate::quota::SandboxHold;
use crate::sandbox::{AutoSleep, Facts};
use crate::service::stats::Readings;
use bulkhead_protocol::files::MAX_WATCHES;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Whether anybody was told that a sandbox exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fame {
    Known,
    Unknown,
}

/// One sandbox.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) facts: Facts,
    standing: watch::Sender<Standing>,
    /// [`Facts`] has what it was at first.
    auto_sleep: AtomicBool,
    streams: Arc<Semaphore>,
    watches: Arc<Semaphore>,
    /// Room for input, counted in KiB.
    input: Arc<Semaphore>,
    /// Its place in its organisation's quota.
    hold: SandboxHold,
    /// Where its organisation is told what becomes of it.
    feed: Arc<Feed>,
    /// The launch whose agent has said hello to this gateway.
    greeted: AtomicU32,
    /// [`Fame`] has what it was at first.
    known: AtomicBool,
    /// What it used lately.
    pub(crate) readings: Readings,
}

impl Sandbox {
    pub(crate) fn new(facts: Facts, state: State, fame: Fame, hold: SandboxHold, feed: Arc<Feed>) -> Self {
        if state.is_at_rest() {
            hold.rest();
        }
        Self {
            auto_sleep: AtomicBool::new(facts.settings.auto_sleep == AutoSleep::On),
            known: AtomicBool::new(fame == Fame::Known),
            readings: Readings::default(),
            greeted: AtomicU32::new(0),
            facts,
            hold,
            feed,
            standing: watch::Sender::new(Standing::new(state)),
            streams: Arc::new(Semaphore::new(limits::MAX_STREAMS)),
            watches: Arc::new(Semaphore::new(MAX_WATCHES)),
            input: Arc::new(Semaphore::new(limits::SANDBOX_INPUT >> 10)),
        }
    }

    pub(crate) fn state(&self) -> State {
        self.standing.borrow().state
    }

    /// The state, and a number that is another one as soon as the state has changed.
    pub(crate) fn snapshot(&self) -> (State, u64) {
        let standing = self.standing.borrow();
        (standing.state, standing.version)
    }

    /// The only way to change a state, beside [`Self::advance`], which takes the first step of a way.
    pub(crate) fn apply(&self, event: Event) -> Result<State, Refusal> {
        self.change(|standing| standing.apply(event))
    }

    /// [`Self::apply`] where the state is still the one of a snapshot.
    pub(crate) fn apply_since(&self, version: u64, event: Event) -> Result<State, Refusal> {
        self.change(
            |standing| {
                if standing.version == version { standing.apply(event) } else { Err(Refusal::Stale) }
            },
        )
    }

    /// Takes the first step to a goal.
    pub(crate) fn advance(&self, goal: Goal) -> Advance {
        self.change(|standing| self.step(standing, goal))
    }

    /// [`Self::advance`] if nobody has used it for so long.
    pub(crate) fn advance_if_idle(&self, goal: Goal, time: Duration) -> Option<Advance> {
        self.change(|standing| {
            standing.idle().filter(|idle| *idle >= time).map(|_| self.step(standing, goal))
        })
    }

    /// What runs again takes its share of the quota first.
    fn step(&self, standing: &mut Standing, goal: Goal) -> Advance {
        if standing.state.toward(goal) == Way::Step(Event::Wake)
            && let Err(over) = self.hold.work()
        {
            return Advance::No(Obstacle::Over(over));
        }
        standing.advance(goal)
    }

    /// It counts among those that a list of its organisation has.
    pub(super) fn belong(&self, tally: Arc<Tally>) {
        self.change(|standing| standing.belong(Some(tally)));
    }

    /// Gives its place back: it is no more, whoever may still look at it.
    pub(super) fn release(&self) {
        self.change(|standing| standing.belong(None));
        self.hold.release();
        if self.known.load(Ordering::Relaxed) {
            self.tell("sandbox.deleted");
        }
    }

    /// The launch whose agent has said hello; 0 is none.
    pub(crate) fn greeted_launch(&self) -> u32 {
        self.greeted.load(Ordering::Relaxed)
    }

    /// The agent of this launch has said hello.
    pub(crate) fn greet(&self, launch: u32) {
        self.greeted.store(launch, Ordering::Relaxed);
    }

    /// Tells its organisation.
    fn tell(&self, what: &'static str) {
        self.known.store(true, Ordering::Relaxed);
        self.feed.tell(&Story::Sandbox { id: self.facts.id.as_str(), what });
    }

    /// An execution that a connection held is over.
    pub(crate) fn tell_execution(&self, end: &'static str) {
        self.feed.tell(&Story::Execution { sandbox: self.facts.id.as_str(), end });
    }

    /// Whoever waits is woken only where the state is another one.
    fn change<T>(&self, change: impl FnOnce(&mut Standing) -> T) -> T {
        let mut outcome = None;
        self.standing.send_if_modified(|standing| {
            let (before, from) = (standing.version, standing.state);
            outcome = Some(change(standing));
            // Within the lock: nobody can wake it in between.
            match standing.state {
                // It keeps what it has until it is gone.
                State::Deleting => {}
                state if state.is_at_rest() => self.hold.rest(),
                // Also one that nobody woke here: the runtime says that it runs.
                _ => self.hold.adopt(),
            }
            if standing.version != before
                && let Some(what) = standing.state.news(from)
            {
                self.tell(what);
            }
            standing.version != before
        });
        #[expect(clippy::unwrap_used, reason = "the closure above has run")]
        outcome.unwrap()
    }

    /// Waits until `wanted` holds.
    pub(crate) async fn until(&self, mut wanted: impl FnMut(State) -> bool) -> State {
        let mut watch = self.standing.subscribe();
        match watch.wait_for(|standing| wanted(standing.state)).await {
            Ok(standing) => standing.state,
            // The sender lives in `self`, so this cannot be; the last state is the true answer anyway.
            Err(_) => self.state(),
        }
    }

    /// Waits until nothing of this launch runs.
    pub(super) async fn departure(&self, launch: u32) -> Departure {
        let mut watch = self.standing.subscribe();
        // An error cannot be, as above.
        drop(watch.wait_for(|standing| standing.departure(launch).is_some()).await);
        self.standing.borrow().departure(launch).unwrap_or(Departure::Died)
    }

    pub(super) fn enter(&self) -> Option<u32> {
        self.change(Standing::enter)
    }

    pub(super) fn enter_again(&self) {
        self.change(Standing::enter_again);
    }

    pub(super) fn leave(&self) {
        self.change(Standing::leave);
    }

    /// How long it has been running without anybody who uses it.
    pub(crate) fn idle(&self) -> Option<Duration> {
        self.standing.borrow().idle()
    }

    /// Whether the silence of its agent is no fault.
    pub(crate) fn excuses_silence(&self) -> bool {
        self.standing.borrow().excuses_silence()
    }

    pub(crate) fn auto_sleep(&self) -> AutoSleep {
        if self.auto_sleep.load(Ordering::Relaxed) { AutoSleep::On } else { AutoSleep::Off }
    }

    pub(crate) fn set_auto_sleep(&self, wanted: AutoSleep) {
        self.auto_sleep.store(wanted == AutoSleep::On, Ordering::Relaxed);
    }

    /// After how long without use it rests; `None` is never.
    pub(crate) fn idle_limit(&self) -> Option<Duration> {
        match self.facts.settings.idle_timeout_s {
            Some(seconds) => Some(Duration::from_secs(u64::from(seconds))),
            None if self.auto_sleep() == AutoSleep::On => Some(limits::AUTO_SLEEP),
            None => None,
        }
    }

    /// A place for one connection to the agent, or `None` when all are taken.
    pub(crate) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    /// A place for one watch of its files, or `None` when all are taken.
    pub(crate) fn watch(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.watches).try_acquire_owned().ok()
    }

    /// Room for so many bytes of input until the agent has taken them, or `None` when too much waits already.
    pub(crate) fn input(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let room = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        Arc::clone(&self.input).try_acquire_many_owned(room).ok()
    }
}
