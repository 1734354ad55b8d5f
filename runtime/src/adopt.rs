//! What a start finds of sandboxes that an earlier runtime left.

use crate::cgroup::{Group, Groups};
use crate::error::{Result, chain};
use crate::record::{Identity, Phase, Record, Records};
use crate::sandbox::{Ending, Sandbox};
use bulkhead_protocol::SandboxId;
use bulkhead_sys::{fd, pidfd};
use std::os::fd::OwnedFd;

/// What was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Every sandbox of this boot, in the state that the kernel says it is in. Launches that nobody was told of end.
    pub(crate) sandboxes: Vec<Sandbox>,
    /// Records of another boot: its processes, groups and claims on ids went with it.
    pub(crate) stale: Vec<Record>,
}

/// Looks at everything that is recorded.
pub(crate) fn survey(instance: &str, records: &Records, groups: &Groups) -> Result<Found> {
    let found = records.read_all()?;
    let mut sandboxes = Vec::new();
    for record in found.records {
        let group = groups.get(&record.id)?;
        sandboxes.push(state_of(instance, record, group, records)?);
    }
    report_strangers(groups, &sandboxes)?;
    Ok(Found { sandboxes, stale: found.stale })
}

fn state_of(instance: &str, mut record: Record, group: Option<Group>, records: &Records) -> Result<Sandbox> {
    if let (Phase::Running(identity), Some(group)) = (&record.phase, &group)
        && let Some(pidfd) = agent(instance, &record.id, *identity, group)?
    {
        return Ok(Sandbox::Running { record, pidfd, turning: None });
    }
    let fate = record.phase.fate();
    if record.phase != Phase::Ending(fate) {
        record.phase = Phase::Ending(fate);
        records.write(&record)?;
    }
    // Opened first, so that the change is not missed.
    let events = group.as_ref().map(Group::events).transpose()?;
    if let Some(group) = &group {
        group.kill()?;
    }
    Ok(Sandbox::Ending(Box::new(Ending::begin(record, fate, events))))
}

/// The agent, if it is still the process that was recorded and lives in its group.
fn agent(instance: &str, id: &SandboxId, identity: Identity, group: &Group) -> Result<Option<OwnedFd>> {
    let Ok(pidfd) = pidfd::open(identity.pid) else { return Ok(None) };
    // Asked after the descriptor was opened: from here on the number cannot pass to another process unnoticed.
    let same = Identity::of(identity.pid) == Some(identity) && is_member(identity.pid, instance, id);
    if !(same && group.events()?.read()?.populated) {
        return Ok(None);
    }
    Ok(Some(fd::park(pidfd)))
}

/// Whether a process is in the v2 group of a sandbox. What is above the instance depends on where this process stands.
fn is_member(pid: i32, instance: &str, id: &SandboxId) -> bool {
    let table = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let own = format!("/{instance}/{id}");
    table.lines().filter_map(|line| line.strip_prefix("0::")).any(|path| path.ends_with(&own))
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
