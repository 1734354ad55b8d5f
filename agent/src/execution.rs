//! The one execution model: a process tree in a cgroup leaf of its own, a journal of its output, one typed end.
//!
//! ```text
//! start ── leaf made, child cloned into it ── shell runs ──▶ Running ──▶ Ended ──▶ leaf empty, removed
//!   │                                            │  main process ends: drain, then the answer; what it left
//!   ▼                                            │    behind lives on, and only the leaf is watched
//! StartFailure                                   │  time is up: kill, all dead, drain, then the answer
//!                                                └  connection closes: kill, no answer
//! ```
//!
//! One task drives each execution from [`Executions::start`] to the removal of its leaf, and nothing ever drops
//! that task: so every process is reaped and every leaf removed, whoever goes away. The answer's body talks to
//! it through a [`Link`].

mod end;
mod journal;
mod leaf;
mod link;
mod output;
mod pump;
mod spawn;
mod spec;

pub(crate) use output::Output;
pub(crate) use spawn::Rules;

use crate::slots::{Slot, Slots};
use bulkhead_protocol::agent::{
    End, Ended, ExecutionSpec, HANDLE_COUNTER_BITS, MAX_EXECUTIONS, StartFailure, StartFailureKind, Started,
};
use bulkhead_sys::pidfd::Exit;
use end::OomCounter;
use journal::{Budget, Journal, Keep};
use leaf::Leaf;
use link::Link;
use pump::{Pump, Scratch};
use spawn::{Main, Running};
use std::cell::Cell;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Leaves at once: of running executions, and of ended ones that left processes behind. Each costs a few
/// descriptors and a directory; at the limit a new execution is refused and nothing is killed.
const MAX_LEAVES: usize = 2 * MAX_EXECUTIONS;
/// How long an answer waits for the death of what was killed: a process in an uninterruptible sleep dies late.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

/// All executions of the sandbox.
#[derive(Debug)]
pub(crate) struct Executions {
    group: Rc<OwnedFd>,
    oom: OomCounter,
    rules: Rules,
    launch: u64,
    counter: Cell<u64>,
    running: Slots,
    leaves: Slots,
    budget: Rc<Budget>,
    scratch: Scratch,
}

impl Executions {
    /// None yet. `group` is the sandbox's cgroup directory, `oom` the file with its `oom_kill` line.
    pub(crate) fn new(group: OwnedFd, oom: OwnedFd, launch: u64, rules: Rules) -> Self {
        Self {
            group: Rc::new(group),
            oom: OomCounter::new(oom),
            rules,
            launch,
            counter: Cell::new(0),
            running: Slots::new(MAX_EXECUTIONS),
            leaves: Slots::new(MAX_LEAVES),
            budget: Rc::default(),
            scratch: Scratch::default(),
        }
    }

    /// Starts an execution that lives as long as its output is wanted.
    ///
    /// # Errors
    /// Why the program never ran; nothing of it is left then. Dropping the future has the same effect.
    pub(crate) async fn start(self: &Rc<Self>, spec: ExecutionSpec) -> Result<Output, StartFailure> {
        let refused = |kind| StartFailure { kind, errno: None };
        let command = spec::Command::try_from(spec).map_err(|_| refused(StartFailureKind::Invalid))?;
        let slots = self.running.take().zip(self.leaves.take());
        let slots = slots.ok_or(refused(StartFailureKind::ExecutionLimit))?;
        let counter = self.next().ok_or(refused(StartFailureKind::ExecutionLimit))?;
        let oom_before = self.oom.read();
        let leaf = Leaf::make(&self.group, counter).map_err(|error| spawn::failure_of_call(&error))?;
        let (started, timeout) = (Instant::now(), command.timeout);
        let Running { leaf, main, pump } =
            spawn::start(&self.rules, command, leaf, self.scratch.clone()).await?;
        let link = Rc::new(Link::new(Journal::new(Keep::UntilRead, Rc::clone(&self.budget))));
        let (attached, detached) = oneshot::channel();
        let execution = Execution {
            all: Rc::clone(self),
            leaf,
            main,
            pump,
            link: Rc::clone(&link),
            detached,
            started,
            deadline: timeout.map(|timeout| started + timeout),
            oom_before,
        };
        tokio::task::spawn_local(execution.drive(slots));
        let handle = (self.launch << HANDLE_COUNTER_BITS) + counter;
        Ok(Output::new(link, attached, Started { handle }))
    }

    /// The next number; `None` when this launch has used them all, since a handle is never given twice.
    fn next(&self) -> Option<u64> {
        let counter = self.counter.get() + 1;
        (counter < 1 << HANDLE_COUNTER_BITS).then(|| self.counter.replace(counter)).map(|last| last + 1)
    }
}

/// A running execution.
#[derive(Debug)]
struct Execution {
    all: Rc<Executions>,
    leaf: Leaf,
    main: Main,
    pump: Pump,
    link: Rc<Link>,
    /// Resolves when the last frame was given out (`Ok`), or the connection closed before (`Err`).
    detached: oneshot::Receiver<()>,
    started: Instant,
    deadline: Option<Instant>,
    oom_before: Option<u64>,
}

/// What ended the running phase.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// The main process ended by itself.
    Exit(Exit),
    /// The time was up.
    Timeout,
    /// Nobody wants the output any more.
    Abandoned,
    /// The kernel does not say how the main process ended.
    Lost,
}

impl Execution {
    /// From the start to the removal of the leaf. Never dropped before its end.
    async fn drive(mut self, (running, leaf_slot): (Slot, Slot)) {
        let stop = self.run().await;
        let wall = self.started.elapsed();
        let end = match stop {
            Stop::Exit(exit) => {
                self.drain().await.map(|()| end::classify(exit, self.oom_before, &self.all.oom))
            }
            Stop::Timeout => self.time_out().await,
            Stop::Abandoned | Stop::Lost => None,
        };
        match end {
            Some(end) => {
                let usage = end::usage(&self.leaf, wall);
                // Before the answer: whoever reads it may start the next one at once.
                drop(running);
                self.link.finish(Ended { end, usage, output_open: self.pump.is_open() });
                // Lets the answer out before the leaf is cleaned up.
                tokio::task::yield_now().await;
                self.outlive().await;
            }
            None => {
                self.link.break_off();
                kill(&self.leaf, &mut self.main).await;
            }
        }
        self.leaf.retire().await;
        drop(leaf_slot);
    }

    /// Moves output until something ends that.
    async fn run(&mut self) -> Stop {
        let deadline = self.deadline;
        let time_up = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let pumped = async {
            self.pump.run(&self.link).await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            exit = self.main.ended() => exit.map_or(Stop::Lost, Stop::Exit),
            _closed = &mut self.detached => Stop::Abandoned,
            () = time_up => Stop::Timeout,
            never = pumped => match never {},
        }
    }

    /// Moves the rest of the output; `None` when nobody wants it any more.
    async fn drain(&mut self) -> Option<()> {
        tokio::select! {
            biased;
            () = self.pump.drain(&self.link) => Some(()),
            _closed = &mut self.detached => None,
        }
    }

    /// Kills everything, and answers when it is dead.
    async fn time_out(&mut self) -> Option<End> {
        tokio::select! {
            biased;
            // An answer after the time that a death may take says the same: it was killed, and it dies.
            _late = tokio::time::timeout(DEATH_TIMEOUT, kill(&self.leaf, &mut self.main)) => {}
            _closed = &mut self.detached => return None,
        }
        self.drain().await.map(|()| End::Timeout)
    }

    /// After the answer: what the main process left behind lives on, and can still write, to nobody. Comes back
    /// when nothing is left. If the answer was never taken, its connection is gone, and so all of this goes.
    async fn outlive(&mut self) {
        if !self.pump.is_open() && self.leaf.remove().is_ok() {
            return;
        }
        let mut answer = Answer::Waiting;
        loop {
            tokio::select! {
                biased;
                _empty = self.leaf.emptied() => return,
                taken = &mut self.detached, if answer == Answer::Waiting => {
                    answer = Answer::Settled;
                    if taken.is_err() {
                        kill(&self.leaf, &mut self.main).await;
                    }
                }
                () = self.pump.discard(), if self.pump.is_open() => {}
            }
        }
    }
}

/// Kills every process of the leaf, reaps the main one, and comes back when none is left. Progress is in the
/// kernel, so it may be dropped and called again.
async fn kill(leaf: &Leaf, main: &mut Main) {
    // Fails only when the agent is out of descriptors or memory; the wait below is right all the same.
    let killed = leaf.kill();
    let reaped = main.ended().await;
    let emptied = leaf.emptied().await;
    drop((killed, reaped, emptied));
}

/// Whether the fate of an answer is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It waits for its connection.
    Waiting,
    /// It was taken, or never will be.
    Settled,
}
