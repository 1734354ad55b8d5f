//! The end of a sandbox: kill, proof, removal. Every step can be repeated, and none relies on the agent.

use super::{Server, Token};
use crate::cgroup::Events;
use crate::conn::{self, Waiter};
use crate::error::{Error, Result};
use crate::failpoint::failpoint;
use crate::record::{Fate, Phase, Record};
use crate::sandbox::{Ending, Sandbox, Stage};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{RefusalKind, Reply};
use bulkhead_sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// When a group that is still alive is killed again.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// Who is told what when nothing of a sandbox lives any more.
pub(super) type Waiters = Vec<(Waiter, Reply)>;

impl Server {
    /// Ends a sandbox that exists, in whatever state. A disk that was to be kept may be discarded after all, never the
    /// other way round.
    pub(super) fn begin_end(&mut self, id: &SandboxId, fate: Fate, mut waiters: Waiters) {
        let Some(sandbox) = self.table.take_named(id) else { return };
        let (record, pidfd) = match sandbox {
            Sandbox::Running { record, pidfd, turning } => {
                if let Some(turning) = turning {
                    self.drop_turning(*turning, RefusalKind::NotRunning);
                }
                self.poll.remove(pidfd.as_fd());
                (record, Some(pidfd))
            }
            Sandbox::Launching { mapped, waiter, .. } => {
                self.poll.remove(mapped.report());
                let failed = mapped.abandon();
                waiters.push((waiter, ended_meanwhile()));
                (failed.record, failed.pidfd)
            }
            Sandbox::Ending(ending) => return self.go_on_ending(ending, fate, waiters),
        };
        self.begin_end_of(record, pidfd, fate, waiters);
    }

    fn go_on_ending(&mut self, mut ending: Box<Ending>, fate: Fate, waiters: Waiters) {
        if let Some((waiter, _)) = ending.next.take() {
            self.answer(waiter, ended_meanwhile());
        }
        ending.waiters.extend(waiters);
        if (ending.fate, fate) == (Fate::Keep, Fate::Discard) {
            ending.fate = fate;
            ending.record.phase = Phase::Ending(fate);
            self.note_record(&ending.record);
            // Its disk may have been kept already.
            ending.stage = Stage::Dying;
        }
        let slot = ending.record.slot.0;
        self.table.insert(Sandbox::Ending(ending));
        self.look_at_ending(slot);
    }

    /// Kills the group and watches it become empty.
    pub(super) fn begin_end_of(
        &mut self,
        mut record: Record,
        pidfd: Option<OwnedFd>,
        fate: Fate,
        waiters: Waiters,
    ) {
        let slot = record.slot.0;
        // Before anybody is told: a runtime that starts after this one finishes what was begun.
        record.phase = Phase::Ending(fate);
        self.note_record(&record);
        failpoint!(EndRecorded);
        let events = self.kill(&record.id).unwrap_or_else(|error| {
            Self::note(&error);
            None
        });
        failpoint!(EndKilled);
        let mut ending = Ending::begin(record, fate, events);
        (ending.pidfd, ending.waiters) = (pidfd, waiters);
        self.watch_ending(&ending);
        self.table.insert(Sandbox::Ending(Box::new(ending)));
        // What was dead before has no event to wait for.
        self.look_at_ending(slot);
    }

    /// Waits for the end of the last process and of the agent. Without the watch the looks come late, no more.
    pub(super) fn watch_ending(&self, ending: &Ending) {
        let slot = ending.record.slot.0;
        let events =
            ending.events.as_ref().map(|events| self.poll.add_urgent(events.as_fd(), Token::Events(slot)));
        let agent = ending.pidfd.as_ref().map(|agent| self.poll.add(agent.as_fd(), Token::Agent(slot)));
        for failed in [events, agent].into_iter().flatten().filter_map(Result::err) {
            Self::note(&failed);
        }
    }

    fn note_record(&self, record: &Record) {
        if let Err(error) = self.records.write(record) {
            Self::note(&error);
        }
    }

    /// Kills what lives in a sandbox, and gives back the file that tells when nothing does.
    pub(super) fn kill(&self, id: &SandboxId) -> Result<Option<Events>> {
        let Some(group) = self.groups.get(id)? else { return Ok(None) };
        // Opened first, so that the change is not missed.
        let events = group.events()?;
        group.kill()?;
        Ok(Some(events))
    }

    /// Goes on with the end of a sandbox as far as it can.
    pub(super) fn look_at_ending(&mut self, slot: u32) {
        let Some(sandbox) = self.table.take(slot) else { return };
        let Sandbox::Ending(mut ending) = sandbox else { return self.table.insert(sandbox) };
        match self.advance(&mut ending) {
            Ok(true) => {
                self.slots.put_back(ending.record.slot);
                self.look_again_at_ranges();
                tracing::debug!(id = %ending.record.id, "gone");
                if let Some((waiter, request)) = ending.next {
                    self.create(waiter, request);
                }
                return;
            }
            Ok(false) => ending.again.later(),
            Err(error) => {
                Self::note(&error);
                ending.again.after_failure();
            }
        }
        self.table.insert(Sandbox::Ending(ending));
    }

    /// True when nothing of the sandbox is left beside a kept disk, and its id range may be used again.
    fn advance(&mut self, ending: &mut Ending) -> Result<bool> {
        if let Some(events) = &ending.events {
            // Before the question: a change after it is an event.
            events.read()?;
        }
        if let Some(agent) = ending.pidfd.take_if(|agent| is_reaped(agent)) {
            self.poll.remove(agent.as_fd());
        }
        if ending.stage == Stage::Dying {
            if self.lives(&ending.record.id, &mut ending.killed)? {
                return Ok(false);
            }
            failpoint!(EndEmpty);
            self.settle_disk(ending)?;
            ending.stage = Stage::Clearing;
        }
        self.clear(ending)
    }

    /// Whether something lives; what does so for long is killed again. Asked by name each time: what cannot be
    /// asked is not empty.
    pub(super) fn lives(&self, id: &SandboxId, killed: &mut Instant) -> Result<bool> {
        let Some(group) = self.groups.get(id)? else { return Ok(false) };
        let populated = group.events()?.read()?.populated;
        if populated && killed.elapsed() > KILL_AGAIN {
            group.kill()?;
            *killed = Instant::now();
        }
        Ok(populated)
    }

    /// Nothing lives: takes the socket away and, where it goes, the disk, to be deleted behind; and says so.
    fn settle_disk(&mut self, ending: &mut Ending) -> Result<()> {
        if let Some(events) = ending.events.take() {
            self.poll.remove(events.as_fd());
        }
        if ending.fate == Fate::Discard {
            self.roots.discard(&ending.record.id).map_err(Error::Root)?;
            self.reaper.start(&mut self.poll);
        }
        failpoint!(EndDisk);
        conn::remove_agent_socket(&self.instance, ending.record.id.as_str())?;
        failpoint!(EndSocket);
        self.tell(ending);
        failpoint!(EndTold);
        Ok(())
    }

    fn tell(&mut self, ending: &mut Ending) {
        for (waiter, reply) in ending.waiters.drain(..) {
            self.answer(waiter, reply);
        }
    }

    /// Removes what the kernel lets go of a moment later. True when it is all gone.
    fn clear(&mut self, ending: &mut Ending) -> Result<bool> {
        self.tell(ending);
        // A group is empty a moment before its last process can be waited for; and v1 counts a task until it is
        // reaped, which for an adopted agent is up to init.
        if ending.pidfd.is_some() || !self.groups.remove(&ending.record.id)? {
            return Ok(false);
        }
        failpoint!(EndGroups);
        self.records.remove(&ending.record.id)?;
        failpoint!(EndForgotten);
        Ok(true)
    }
}

/// What a create hears whose sandbox was stopped or destroyed before it ran.
pub(super) fn ended_meanwhile() -> Reply {
    Reply::Refused { kind: RefusalKind::Failed, detail: "ended meanwhile".to_owned() }
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
