//! The one execution model: a process tree in a cgroup leaf of its own, a journal of its output, one typed end.
//!
//! ```text
//! start ── leaf made, child cloned into it ── shell runs ──▶ Running ──▶ Ended ──▶ leaf empty, removed
//!   │                                            │  main process ends: drain, then the answer; what it left
//!   ▼                                            │    behind lives on, and only the leaf is watched
//! StartFailure                                   │  time is up: kill, all dead, drain, then the answer
//!                                                │  request kills: all dead, drain, then the answer
//!                                                └  holder's connection closes: kill, no answer
//! ```
//!
//! One task drives each execution ([`drive`]) from [`Executions::start`] to the removal of its leaf, and nothing
//! ever drops that task: so every process is reaped and every leaf removed, whoever goes away. Requests see an
//! [`entry`] of the [`registry`]; readers of output hold cursors into a [`link`].
//!
//! An attached execution has one reader, which loses nothing: its journal makes the command wait. That reader is
//! the connection that started it, or with a terminal the client that sits there. All others have any number, and a
//! journal that forgets. One with an idempotency key goes on without its connection.

mod drive;
mod end;
mod entry;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod input;
mod journal;
mod leaf;
mod link;
mod output;
mod pump;
mod registry;
mod session;
mod signal;
mod spawn;
mod spec;
mod streams;
mod terminal;
mod turns;
mod user;
mod worker;

pub(crate) use entry::{Cannot, Entry};
pub(crate) use input::Taken;
pub(crate) use link::Wants;
pub(crate) use output::Output;
pub(crate) use session::attend;
pub(crate) use spawn::Rules;
pub(crate) use terminal::is_valid;
pub(crate) use worker::Worker;

use crate::slots::{Slot, Slots};
use crate::vitals::Vitals;
use bulkhead_protocol::agent::{
    ExecutionSpec, HANDLE_COUNTER_BITS, Hold, IdempotencyKey, MAX_EXECUTIONS, StartFailure, StartFailureKind,
    Started,
};
use bulkhead_protocol::files::{MAX_FILE_WORKERS, MAX_WATCHES};
use drive::{Execution, Holder};
use end::OomCounter;
use entry::About;
use journal::{Budget, Journal, Keep};
use leaf::Leaf;
use link::Link;
use pump::Scratch;
use registry::Registry;
use spawn::Running;
use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use tokio::sync::oneshot;
use tokio::time::Instant;
use turns::Turns;

/// Leaves at once: of running executions, and of ended ones that left processes behind. Each costs a few
/// descriptors and a directory; at the limit a new execution is refused and nothing is killed.
const MAX_LEAVES: usize = 2 * MAX_EXECUTIONS;
/// Clients that sit at terminals at once; each costs what is in flight to it and one frame from it.
const MAX_TERMINAL_CLIENTS: usize = MAX_EXECUTIONS;

/// All executions of the sandbox.
#[derive(Debug)]
pub(crate) struct Executions {
    group: Rc<OwnedFd>,
    oom: Rc<OomCounter>,
    vitals: Rc<Vitals>,
    rules: Rules,
    launch: u64,
    counter: Cell<u64>,
    running: Slots,
    leaves: Slots,
    terminal_clients: Slots,
    workers: Slots,
    watches: Slots,
    /// Where the search for a free leaf of a worker begins.
    worker_counter: Cell<u64>,
    budget: Rc<Budget>,
    scratch: Scratch,
    registry: Rc<Registry>,
    /// Whoever starts with a key: a second request with that key waits here for the first.
    turns: Turns,
}

/// A start that worked.
#[derive(Debug)]
pub(crate) enum Start {
    /// It goes on by itself.
    Detached(Started),
    /// Its output is the answer.
    Attached(Output),
}

impl Executions {
    /// None yet. `group` is the sandbox's cgroup directory, `oom` the file with its `oom_kill` line.
    pub(crate) fn new(group: OwnedFd, oom: OwnedFd, vitals: Rc<Vitals>, launch: u64, rules: Rules) -> Self {
        Self {
            group: Rc::new(group),
            oom: Rc::new(OomCounter::new(oom)),
            vitals,
            rules,
            launch,
            counter: Cell::new(0),
            running: Slots::new(MAX_EXECUTIONS),
            leaves: Slots::new(MAX_LEAVES),
            terminal_clients: Slots::new(MAX_TERMINAL_CLIENTS),
            workers: Slots::new(MAX_FILE_WORKERS),
            watches: Slots::new(MAX_WATCHES),
            worker_counter: Cell::new(0),
            budget: Rc::default(),
            scratch: Scratch::default(),
            registry: Rc::default(),
            turns: Turns::default(),
        }
    }

    /// Starts an execution, or finds the one that was started with the same key.
    ///
    /// # Errors
    /// Why the program never ran; nothing of it is left then. Dropping the future has the same effect.
    pub(crate) async fn start(&self, spec: ExecutionSpec) -> Result<Start, StartFailure> {
        let Some(key) = spec.key.clone() else { return self.start_new(spec).await };
        let lock = self.turns.of(&key.key);
        let turn = lock.lock().await;
        let start = match self.registry.find_key(&key.key) {
            Some(entry) => join(&entry, &key, spec.hold),
            None => self.start_new(spec).await,
        };
        drop(turn);
        start
    }

    async fn start_new(&self, spec: ExecutionSpec) -> Result<Start, StartFailure> {
        let account = user::find(spec.user.as_deref())?;
        let command = spec::Command::new(&spec, account).map_err(|_| refused(StartFailureKind::Invalid))?;
        let slots = self.running.take().zip(self.leaves.take());
        let slots = slots.ok_or(refused(StartFailureKind::ExecutionLimit))?;
        let counter = self.next().ok_or(refused(StartFailureKind::ExecutionLimit))?;
        let oom_before = self.oom.read();
        self.vitals.keep(&self.running);
        let leaf = Leaf::make(&self.group, counter).map_err(|error| spawn::failure_of_call(&error))?;
        let (started, timeout) = (Instant::now(), command.timeout);
        let running = spawn::start(&self.rules, command, leaf, self.scratch.clone()).await?;
        let handle = (self.launch << HANDLE_COUNTER_BITS) + counter;
        let deadline = timeout.map(|timeout| started + timeout);
        Ok(self.run(running, handle, About::new(spec), Clock { started, deadline, oom_before }, slots))
    }

    /// Hands a running command over to its task.
    fn run(&self, running: Running, handle: u64, about: About, clock: Clock, slots: (Slot, Slot)) -> Start {
        let Running { leaf, main, streams } = running;
        let leaf = Rc::new(leaf);
        let (detached, hold) = (about.is_detached(), about.hold());
        let shows = about.shows();
        let keep = if detached { Keep::Newest } else { Keep::UntilRead };
        let link = Rc::new(Link::new(Journal::new(keep, Rc::clone(&self.budget)), about.manners()));
        let (sender, receiver) = oneshot::channel();
        let holder = if detached { Holder::Nobody } else { Holder::Connection(receiver) };
        let entry = Entry::new(handle, Rc::clone(&link), streams.input, Rc::clone(&leaf), about);
        let entry = Rc::new(entry);
        self.registry.insert(Rc::clone(&entry));
        let execution = Execution {
            entry,
            registry: Rc::clone(&self.registry),
            oom: Rc::clone(&self.oom),
            oom_before: clock.oom_before,
            vitals: Rc::clone(&self.vitals),
            leaf,
            main,
            pump: streams.pump,
            holder,
            started: clock.started,
            deadline: clock.deadline,
        };
        tokio::task::spawn_local(execution.drive(slots));
        let started = Started { handle };
        match hold {
            Hold::Detached => Start::Detached(started),
            Hold::Attached => {
                let output = Output::new(link, shows, 0).with_start(started);
                Start::Attached(if detached { output } else { output.with_hold(sender) })
            }
        }
    }

    /// The execution with this handle, if it runs or ended lately.
    pub(crate) fn find(&self, handle: u64) -> Option<Rc<Entry>> {
        self.registry.find(handle)
    }

    /// JSON of the list.
    pub(crate) fn list(&self) -> Vec<u8> {
        self.registry.list()
    }

    /// A seat at a terminal, if one is free.
    pub(crate) fn take_seat(&self) -> Option<Slot> {
        self.terminal_clients.take()
    }

    /// The next number; `None` when this launch has used them all, since a handle is never given twice.
    fn next(&self) -> Option<u64> {
        let counter = self.counter.get() + 1;
        (counter < 1 << HANDLE_COUNTER_BITS).then(|| self.counter.replace(counter)).map(|last| last + 1)
    }
}

/// When an execution started and must end, and what was counted before.
#[derive(Debug, Clone, Copy)]
struct Clock {
    started: Instant,
    deadline: Option<Instant>,
    oom_before: Option<u64>,
}

/// What a repeated request gets: the same execution, its output from the start.
fn join(entry: &Entry, key: &IdempotencyKey, hold: Hold) -> Result<Start, StartFailure> {
    if entry.about().key.as_ref() != Some(key) {
        return Err(refused(StartFailureKind::KeyConflict));
    }
    let started = Started { handle: entry.handle };
    Ok(match hold {
        Hold::Detached => Start::Detached(started),
        Hold::Attached => {
            let shows = entry.about().shows();
            Start::Attached(Output::new(Rc::clone(&entry.link), shows, 0).with_start(started))
        }
    })
}

fn refused(kind: StartFailureKind) -> StartFailure {
    StartFailure { kind, errno: None }
}
