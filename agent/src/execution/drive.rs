//! The task of an execution: from its start to the removal of its leaf.

use super::end::{self, OomCounter};
use super::entry::Entry;
use super::leaf::Leaf;
use super::link::Link;
use super::pump::Pump;
use super::registry::Registry;
use super::spawn::Main;
use crate::slots::Slot;
use crate::vitals::Vitals;
use bulkhead_protocol::agent::{End, Ended};
use bulkhead_sys::pidfd::Exit;
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long an answer waits for the death of what was killed: a process in an uninterruptible sleep dies late.
const DEATH_TIMEOUT: Duration = Duration::from_secs(10);

/// A running execution.
#[derive(Debug)]
pub(crate) struct Execution {
    pub(crate) entry: Rc<Entry>,
    pub(crate) registry: Rc<Registry>,
    pub(crate) oom: Rc<OomCounter>,
    pub(crate) oom_before: Option<u64>,
    pub(crate) vitals: Rc<Vitals>,
    pub(crate) leaf: Rc<Leaf>,
    pub(crate) main: Main,
    pub(crate) pump: Pump,
    pub(crate) holder: Holder,
    pub(crate) started: Instant,
    pub(crate) deadline: Option<Instant>,
}

/// Who an execution dies with.
#[derive(Debug)]
pub(crate) enum Holder {
    /// Nobody, or somebody who has got the whole answer.
    Nobody,
    /// A connection: resolves when the last frame was given out (`Ok`), or it closed before (`Err`).
    Connection(oneshot::Receiver<()>),
    /// A connection that closed.
    Gone,
}

impl Holder {
    /// Comes back when the connection closed before it got everything, again and again.
    async fn gone(&mut self) {
        if let Holder::Connection(connection) = self {
            *self = if connection.await.is_ok() { Holder::Nobody } else { Holder::Gone };
        }
        match self {
            Holder::Gone => {}
            Holder::Nobody | Holder::Connection(_) => std::future::pending().await,
        }
    }
}

/// What ended the running phase.
#[derive(Debug, Clone, Copy)]
enum Stop {
    /// The main process ended: by itself, or because a request killed everything.
    Exit(Exit),
    /// The time was up.
    Timeout,
    /// Its connection closed.
    Abandoned,
    /// The kernel does not say how the main process ended.
    Lost,
}

impl Execution {
    /// From the start to the removal of the leaf. Never dropped before its end.
    pub(crate) async fn drive(mut self, (running, leaf_slot): (Slot, Slot)) {
        let link = Rc::clone(&self.entry.link);
        let stop = self.run(&link).await;
        let wall = self.started.elapsed();
        let end = self.stop(stop, &link).await;
        self.entry.input.close();
        // Before the answer: whoever reads it may start the next one at once.
        drop(running);
        match end {
            Some(end) => {
                let usage = end::usage(&self.leaf, wall);
                link.finish(Ended { end, usage, output_open: self.pump.is_open() });
                self.registry.ended(&self.entry);
            }
            None => {
                link.break_off();
                self.registry.forget(self.entry.handle);
            }
        }
        // Lets the answer out before the leaf is cleaned up. Whoever starts the next reads what this one has left.
        tokio::task::yield_now().await;
        self.vitals.refresh();
        self.outlive().await;
        self.entry.is_dead();
        self.leaf.retire().await;
        drop(leaf_slot);
    }

    /// Moves output until something ends that.
    async fn run(&mut self, link: &Link) -> Stop {
        let deadline = self.deadline;
        let time_up = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        let pumped = async {
            self.pump.run(link).await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            exit = self.main.ended() => exit.map_or(Stop::Lost, Stop::Exit),
            () = self.holder.gone() => Stop::Abandoned,
            () = time_up => Stop::Timeout,
            never = pumped => match never {},
        }
    }

    /// What is left to do before the answer, and what that says.
    async fn stop(&mut self, stop: Stop, link: &Link) -> Option<End> {
        match stop {
            Stop::Exit(exit) => {
                self.drain(link).await;
                Some(match exit {
                    Exit::Signal(end::SIGKILL) if self.entry.kill_asked() => End::Killed,
                    exit => end::classify(exit, self.oom_before, &self.oom),
                })
            }
            Stop::Timeout => {
                // An answer after the time that a death may take says the same: it was killed, and it dies.
                let killed = tokio::time::timeout(DEATH_TIMEOUT, kill(&self.leaf, &mut self.main));
                match killed.await {
                    Ok(()) | Err(_) => {}
                }
                self.drain(link).await;
                Some(End::Timeout)
            }
            Stop::Abandoned => {
                kill(&self.leaf, &mut self.main).await;
                Some(End::Killed)
            }
            Stop::Lost => {
                kill(&self.leaf, &mut self.main).await;
                None
            }
        }
    }

    /// Moves the rest of the output, while anybody wants it.
    async fn drain(&mut self, link: &Link) {
        tokio::select! {
            biased;
            () = self.pump.drain(link) => {}
            () = self.holder.gone() => {}
        }
    }

    /// After the answer: what the main process left behind lives on, and can still write, to nobody. Comes back
    /// when nothing is left. If the answer was never taken, its connection is gone, and so all of this goes.
    async fn outlive(&mut self) {
        if !self.pump.is_open() && self.leaf.remove().is_ok() {
            return;
        }
        tokio::select! {
            biased;
            () = self.leaf.surely_emptied() => return,
            () = self.holder.gone() => {}
            never = discard(&mut self.pump) => match never {},
        }
        kill(&self.leaf, &mut self.main).await;
    }
}

async fn discard(pump: &mut Pump) -> Infallible {
    pump.discard().await;
    std::future::pending().await
}

/// Kills every process of the leaf, reaps the main one, and comes back when none is left. Progress is in the
/// kernel, so it may be dropped and called again.
pub(super) async fn kill(leaf: &Leaf, main: &mut Main) {
    // Fails only when the agent is out of descriptors or memory; the wait below is right all the same.
    let killed = leaf.kill();
    let reaped = main.ended().await;
    leaf.surely_emptied().await;
    drop((killed, reaped));
}
