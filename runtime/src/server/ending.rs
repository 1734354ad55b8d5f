//! The end of a sandbox: kill, proof, removal. Every step can be repeated, and none relies on the agent.

use super::{Server, Token};
use crate::conn::{self, Waiter};
use crate::error::{Error, Result};
use crate::record::{Phase, Record};
use crate::sandbox::{Ending, Sandbox, Stage};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::Reply;
use bulkhead_sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// When a group that is still alive is killed again.
const KILL_AGAIN: Duration = Duration::from_secs(1);
/// When a step that failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Server {
    /// Ends a sandbox that exists, in whatever state; `waiter` is told when nothing of it lives any more.
    pub(super) fn begin_end(&mut self, id: &SandboxId, waiter: Option<Waiter>) {
        let Some(sandbox) = self.sandboxes.remove(id) else { return };
        let mut waiters: Vec<_> = waiter.map(|waiter| (waiter, Reply::Destroyed)).into_iter().collect();
        let (record, pidfd) = match sandbox {
            Sandbox::Running { record, pidfd } => {
                self.poll.remove(pidfd.as_fd());
                (record, Some(pidfd))
            }
            Sandbox::Dead { record } => (record, None),
            Sandbox::Launching { mapped, waiter, .. } => {
                self.poll.remove(mapped.report());
                let failed = mapped.abandon();
                let detail = "destroyed meanwhile".to_owned();
                let kind = bulkhead_protocol::runtime::RefusalKind::Failed;
                waiters.push((waiter, Reply::Refused { kind, detail }));
                (failed.record, failed.pidfd)
            }
            Sandbox::Ending(mut ending) => {
                ending.waiters.extend(waiters);
                return self.insert(Sandbox::Ending(ending));
            }
        };
        self.begin_end_of(record, pidfd, waiters);
    }

    /// Kills the group and watches it become empty.
    pub(super) fn begin_end_of(
        &mut self,
        mut record: Record,
        pidfd: Option<OwnedFd>,
        waiters: Vec<(Waiter, Reply)>,
    ) {
        let slot = record.slot.0;
        // Before anybody is told: a runtime that starts after this one finishes what was begun.
        record.phase = Phase::Ending;
        if let Err(error) = self.records.write(&record) {
            Self::note(&error);
        }
        let events = self.kill(&record.id).unwrap_or_else(|error| {
            Self::note(&error);
            None
        });
        if let Some(events) = &events
            && let Err(error) = self.poll.add_urgent(events.as_fd(), Token::Events(slot))
        {
            Self::note(&error);
        }
        let killed = Instant::now();
        let ending = Ending { record, events, pidfd, waiters, killed, stage: Stage::Dying, not_before: None };
        self.insert(Sandbox::Ending(ending));
        // What was dead before has no event to wait for.
        self.look_at_ending(slot);
    }

    /// Kills what lives in a sandbox, and gives back the file that tells when nothing does.
    fn kill(&self, id: &SandboxId) -> Result<Option<OwnedFd>> {
        let Some(group) = self.groups.get(id)? else { return Ok(None) };
        // Opened first, so that the change is not missed.
        let events = group.events()?;
        group.kill()?;
        Ok(Some(events))
    }

    /// Goes on with the end of a sandbox as far as it can.
    pub(super) fn look_at_ending(&mut self, slot: u32) {
        let Some(sandbox) = self.take(slot) else { return };
        let Sandbox::Ending(mut ending) = sandbox else { return self.insert(sandbox) };
        if ending.not_before.is_some_and(|time| Instant::now() < time) {
            return self.insert(Sandbox::Ending(ending));
        }
        match self.advance(&mut ending) {
            Ok(true) => {
                self.by_slot.remove(&slot);
                self.slots.put_back(ending.record.slot);
                tracing::debug!(id = %ending.record.id, "gone");
            }
            Ok(false) => self.insert(Sandbox::Ending(ending)),
            Err(error) => {
                Self::note(&error);
                ending.not_before = Some(Instant::now() + TRY_AGAIN);
                self.insert(Sandbox::Ending(ending));
            }
        }
    }

    /// True when nothing of the sandbox is left and its id range may be used again.
    fn advance(&mut self, ending: &mut Ending) -> Result<bool> {
        if ending.stage == Stage::Dying {
            if self.lives(ending)? {
                return Ok(false);
            }
            self.put_out_of_reach(ending)?;
            ending.stage = Stage::Clearing;
        }
        self.clear(ending)
    }

    /// Whether something lives; what does so for long is killed again. Asked by name each time: what cannot be
    /// asked is not empty.
    fn lives(&self, ending: &mut Ending) -> Result<bool> {
        let Some(group) = self.groups.get(&ending.record.id)? else { return Ok(false) };
        let populated = group.is_populated()?;
        if populated && ending.killed.elapsed() > KILL_AGAIN {
            group.kill()?;
            ending.killed = Instant::now();
        }
        Ok(populated)
    }

    /// Nothing lives: takes the disk and the socket away, to be deleted behind, and says so.
    fn put_out_of_reach(&mut self, ending: &mut Ending) -> Result<()> {
        if let Some(events) = ending.events.take() {
            self.poll.remove(events.as_fd());
        }
        self.roots.discard(&ending.record.id).map_err(Error::Root)?;
        self.reaper.start(&mut self.poll);
        conn::remove_agent_socket(&self.instance, ending.record.id.as_str())?;
        for (waiter, reply) in ending.waiters.drain(..) {
            self.answer(waiter, reply);
        }
        Ok(())
    }

    /// Removes what the kernel lets go of a moment later. True when it is all gone.
    fn clear(&mut self, ending: &mut Ending) -> Result<bool> {
        for (waiter, reply) in ending.waiters.drain(..) {
            self.answer(waiter, reply);
        }
        // A group is empty a moment before its last process can be waited for.
        if let Some(pidfd) = ending.pidfd.take()
            && !is_reaped(&pidfd)
        {
            ending.pidfd = Some(pidfd);
            return Ok(false);
        }
        // v1 counts a task until it is reaped, which for an adopted agent is up to init.
        if !self.groups.remove(&ending.record.id)? {
            return Ok(false);
        }
        self.records.remove(&ending.record.id)?;
        Ok(true)
    }
}

/// Takes the exit status of an agent, if it has one yet; one that an earlier runtime started is init's to reap.
fn is_reaped(process: &OwnedFd) -> bool {
    match pidfd::try_wait(process.as_fd()) {
        Ok(exit) => exit.is_some(),
        Err(error) if error.errno == nix::errno::Errno::ECHILD => true,
        Err(error) => {
            tracing::error!("{}", crate::error::chain(&error));
            true
        }
    }
}
