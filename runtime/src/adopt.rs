//! What a start finds of sandboxes that an earlier runtime left.

use crate::cgroup::{Group, Groups};
use crate::error::{Result, chain};
use crate::record::{Identity, Phase, Record, Records};
use crate::sandbox::{Ending, Sandbox, Stage};
use bulkhead_protocol::SandboxId;
use bulkhead_sys::pidfd;
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Every recorded sandbox in the state that the kernel says it is in. Launches that nobody was told of are ended.
pub(crate) fn survey(records: &Records, groups: &Groups) -> Result<Vec<Sandbox>> {
    let found = records.read_all()?;
    let mut sandboxes = Vec::new();
    for record in found.records {
        let group = groups.get(&record.id)?;
        sandboxes.push(state_of(record, group, records)?);
    }
    for record in found.stale {
        // Another boot's processes are gone with it; the disk is kept, unless it was being destroyed.
        let sandbox = if record.phase == Phase::Ending {
            state_of(record, None, records)
        } else {
            dead(record, records)
        };
        sandboxes.push(sandbox?);
    }
    report_strangers(groups, &sandboxes)?;
    Ok(sandboxes)
}

fn state_of(record: Record, group: Option<Group>, records: &Records) -> Result<Sandbox> {
    match (&record.phase, group) {
        (Phase::Running(identity), Some(group)) => match agent(*identity, &group)? {
            Some(pidfd) => Ok(Sandbox::Running { record, pidfd }),
            None => {
                group.kill()?;
                dead(record, records)
            }
        },
        (Phase::Launching | Phase::Ending, group) => {
            let events = group.as_ref().map(Group::events).transpose()?;
            if let Some(group) = &group {
                group.kill()?;
            }
            let killed = Instant::now();
            let ending = Ending {
                record,
                events,
                pidfd: None,
                waiters: Vec::new(),
                killed,
                stage: Stage::Dying,
                not_before: None,
            };
            Ok(Sandbox::Ending(ending))
        }
        (Phase::Running(_), None) => dead(record, records),
        (Phase::Dead, group) => {
            if let Some(group) = group {
                group.kill()?;
            }
            dead(record, records)
        }
    }
}

/// The agent, if it is still the process that was recorded and something lives in its group.
fn agent(identity: Identity, group: &Group) -> Result<Option<OwnedFd>> {
    let Ok(pidfd) = pidfd::open(identity.pid) else { return Ok(None) };
    // Asked after the descriptor was opened: from here on the number cannot pass to another process unnoticed.
    let same = Identity::of(identity.pid) == Some(identity);
    Ok((same && group.is_populated()?).then_some(pidfd))
}

fn dead(mut record: Record, records: &Records) -> Result<Sandbox> {
    record.phase = Phase::Dead;
    record.boot = records.boot().to_owned();
    records.write(&record)?;
    Ok(Sandbox::Dead { record })
}

/// Groups that no record claims are somebody's mistake: said, never removed unasked.
fn report_strangers(groups: &Groups, sandboxes: &[Sandbox]) -> Result<()> {
    let known: Vec<&SandboxId> = sandboxes.iter().map(|sandbox| &sandbox.record().id).collect();
    for name in groups.list()? {
        let is_sandbox = SandboxId::parse(&name).is_ok();
        if is_sandbox && !known.iter().any(|id| id.as_str() == name) {
            tracing::error!(name, "a cgroup that no record claims");
        }
    }
    Ok(())
}

/// Kills everything in every group of an instance, and says which ids had one.
pub(crate) fn kill_all(groups: &Groups) -> Result<Vec<SandboxId>> {
    let mut ids = Vec::new();
    for name in groups.list()? {
        let Ok(id) = SandboxId::parse(&name) else { continue };
        if let Some(group) = groups.get(&id)?
            && let Err(error) = group.kill()
        {
            tracing::error!(%id, "{}", chain(&error));
        }
        ids.push(id);
    }
    Ok(ids)
}
