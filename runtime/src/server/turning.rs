//! Freeze and thaw: asked through the group's file, answered when the kernel says that it is so.

use super::{Server, Token};
use crate::conn::Waiter;
use crate::error::{Error, Result, chain};
use crate::failpoint::failpoint;
use crate::record::Record;
use crate::sandbox::{Sandbox, Turning};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{Life, RefusalKind, Reply};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the processes of a sandbox may take to stand still or to go on: one that sleeps in the kernel without
/// being interruptible comes to a stand when it wakes.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

impl Server {
    pub(super) fn turn(&mut self, waiter: Waiter, id: &SandboxId, to: Life) {
        let (record, pidfd, turning) = match self.table.take_named(id) {
            Some(Sandbox::Running { record, pidfd, turning }) => (record, pidfd, turning),
            other => {
                let kind = if other.is_some() { RefusalKind::NotRunning } else { RefusalKind::Unknown };
                if let Some(sandbox) = other {
                    self.table.insert(sandbox);
                }
                return self.refuse(waiter, kind, id.to_string());
            }
        };
        let turning = match turning {
            Some(mut turning) if turning.to == to => {
                turning.waiters.push(waiter);
                Some(turning)
            }
            opposite => {
                if let Some(turning) = opposite {
                    self.drop_turning(*turning, RefusalKind::Failed);
                }
                self.begin_turn(waiter, &record, to)
            }
        };
        self.table.insert(Sandbox::Running { record, pidfd, turning });
    }

    /// `None` where it is done, or failed: the waiter knows then.
    fn begin_turn(&mut self, waiter: Waiter, record: &Record, to: Life) -> Option<Box<Turning>> {
        match self.ask_turn(record, to) {
            Ok(turning) if Self::has_turned(&turning) => {
                self.poll.remove(turning.events.as_fd());
                self.answer(waiter, reply(to));
                None
            }
            Ok(mut turning) => {
                turning.waiters.push(waiter);
                Some(Box::new(turning))
            }
            Err(error) => {
                self.refuse(waiter, error.kind(), chain(&error));
                None
            }
        }
    }

    fn ask_turn(&self, record: &Record, to: Life) -> Result<Turning> {
        let group = self.groups.get(&record.id)?.ok_or(Error::NoGroup)?;
        let events = group.events()?;
        self.poll.add_urgent(events.as_fd(), Token::Events(record.slot.0))?;
        group.turn(to)?;
        failpoint!(TurnAsked);
        Ok(Turning { to, events, waiters: Vec::new(), until: Instant::now() + TURN_PATIENCE })
    }

    /// Whether the kernel says so. What cannot be read is not so.
    fn has_turned(turning: &Turning) -> bool {
        match turning.events.read() {
            Ok(seen) if seen.life == turning.to => {
                failpoint!(TurnDone);
                true
            }
            Ok(_) => false,
            Err(error) => {
                Self::note(&error);
                false
            }
        }
    }

    /// The events of a running sandbox changed, or it is late.
    pub(super) fn look_at_turning(&mut self, slot: u32) {
        let Some(sandbox) = self.table.take(slot) else { return };
        let Sandbox::Running { record, pidfd, turning: Some(turning) } = sandbox else {
            return self.table.insert(sandbox);
        };
        let turning = if Self::has_turned(&turning) {
            self.poll.remove(turning.events.as_fd());
            for waiter in turning.waiters {
                self.answer(waiter, reply(turning.to));
            }
            None
        } else if Instant::now() > turning.until {
            self.give_up_turning(&record, *turning);
            None
        } else {
            Some(turning)
        };
        self.table.insert(Sandbox::Running { record, pidfd, turning });
    }

    /// What did not come to a stand in time goes on.
    fn give_up_turning(&mut self, record: &Record, turning: Turning) {
        let group = self.groups.get(&record.id).and_then(|group| group.ok_or(Error::NoGroup));
        if let Err(error) = group.and_then(|group| group.turn(Life::Running)) {
            Self::note(&error);
        }
        tracing::error!(id = %record.id, to = ?turning.to, "its processes did not do so in time");
        self.drop_turning(turning, RefusalKind::Failed);
    }

    pub(super) fn drop_turning(&mut self, turning: Turning, kind: RefusalKind) {
        self.poll.remove(turning.events.as_fd());
        for waiter in turning.waiters {
            self.refuse(waiter, kind, format!("not {:?}", turning.to));
        }
    }
}

fn reply(to: Life) -> Reply {
    match to {
        Life::Running => Reply::Thawed,
        Life::Frozen => Reply::Frozen,
    }
}
