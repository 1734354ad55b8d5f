//! Groups of sandboxes that no record names any more, since it was set aside. Nobody ends them unasked; whoever asks
//! for their end or for another launch gets it with the same proof as of any other.

use super::Server;
use super::create::waits_for;
use super::ending::{Waiters, ended_meanwhile};
use crate::conn::{self, Waiter};
use crate::error::{Error, Result};
use crate::record::Fate;
use crate::sandbox::Again;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{CreateSandbox, RefusalKind};
use std::time::Instant;

/// One that was told to end.
#[derive(Debug)]
pub(super) struct Stray {
    /// What becomes of its disk.
    fate: Fate,
    /// Who is told what once nothing of it is left.
    waiters: Waiters,
    /// A launch that begins then.
    pub(super) next: Option<(Waiter, CreateSandbox)>,
    /// When it was killed last.
    killed: Instant,
    /// When it is looked at: no event tells of it.
    again: Again,
}

impl Server {
    /// Whether something of a sandbox exists that is not in the table.
    pub(super) fn is_stray(&self, id: &SandboxId) -> Result<bool> {
        Ok(self.table.get(id).is_none() && (self.strays.contains_key(id) || self.groups.exists(id)?))
    }

    /// Ends a stray. A disk that was to be kept may be discarded after all, never the other way round.
    pub(super) fn end_stray(&mut self, id: &SandboxId, fate: Fate, waiters: Waiters) {
        let mut stray = self.strays.remove(id).unwrap_or_else(|| self.kill_stray(id));
        stray.waiters.extend(waiters);
        if fate == Fate::Discard {
            stray.fate = fate;
        }
        let dropped = stray.next.take();
        self.strays.insert(id.clone(), stray);
        if let Some((waiter, _)) = dropped {
            self.answer(waiter, ended_meanwhile());
        }
        self.look_at_stray(id);
    }

    /// A launch in the place of a stray begins when nothing of that is left.
    pub(super) fn create_after_stray(&mut self, waiter: Waiter, request: CreateSandbox) {
        let id = request.id.clone();
        let mut stray = match self.strays.remove(&id) {
            Some(stray) if !waits_for(stray.fate, request.disk) || stray.next.is_some() => {
                self.strays.insert(id, stray);
                return self.refuse(waiter, RefusalKind::Exists, String::new());
            }
            Some(stray) => stray,
            None => self.kill_stray(&id),
        };
        stray.next = Some((waiter, request));
        self.strays.insert(id.clone(), stray);
        self.look_at_stray(&id);
    }

    fn kill_stray(&self, id: &SandboxId) -> Stray {
        tracing::warn!(%id, "ends though no record names it");
        if let Err(error) = self.kill(id) {
            // It is killed again.
            Self::note(&error);
        }
        let (killed, again) = (Instant::now(), Again::soon());
        Stray { fate: Fate::Keep, waiters: Vec::new(), next: None, killed, again }
    }

    /// When the next one has to be looked at.
    pub(super) fn next_stray_due(&self) -> Option<Instant> {
        self.strays.values().map(|stray| stray.again.at()).min()
    }

    /// Looks at those that are due.
    pub(super) fn look_at_strays(&mut self) {
        let now = Instant::now();
        let due = self.strays.iter().filter(|(_, stray)| stray.again.at() <= now);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.look_at_stray(&id);
        }
    }

    fn look_at_stray(&mut self, id: &SandboxId) {
        let Some(mut stray) = self.strays.remove(id) else { return };
        match self.advance_stray(id, &mut stray) {
            Ok(true) => {
                self.look_again_at_ranges();
                for (waiter, reply) in stray.waiters {
                    self.answer(waiter, reply);
                }
                if let Some((waiter, request)) = stray.next {
                    self.create(waiter, request);
                }
                return;
            }
            Ok(false) => stray.again.later(),
            Err(error) => {
                Self::note(&error);
                stray.again.after_failure();
            }
        }
        self.strays.insert(id.clone(), stray);
    }

    /// True when nothing is left beside a kept disk. Its range of ids comes back when nobody lives in it.
    fn advance_stray(&mut self, id: &SandboxId, stray: &mut Stray) -> Result<bool> {
        if self.lives(id, &mut stray.killed)? || !self.groups.remove(id)? {
            return Ok(false);
        }
        if stray.fate == Fate::Discard {
            self.roots.discard(id).map_err(Error::Root)?;
            self.reaper.start(&mut self.poll);
        }
        conn::remove_agent_socket(&self.instance, id.as_str())?;
        Ok(true)
    }
}
