//! What no record claims, and what a record claims that is not there. Looks twice at what we know, since sandboxes
//! come and go meanwhile: only what was wrong before and after is wrong.

use super::runtime_error;
use crate::api::LeakShown;
use crate::app::App;
use crate::error::ApiResult;
use crate::registry::State;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::LeakKind;
use std::collections::BTreeSet;

/// Everything that leaks, sorted.
pub(crate) async fn find(app: &App) -> ApiResult<Vec<LeakShown>> {
    let before = app.registry.all();
    let resources = app.runtime.leaks().await.map_err(runtime_error)?;
    let running: BTreeSet<SandboxId> =
        app.runtime.list().await.map_err(runtime_error)?.into_iter().map(|row| row.id).collect();
    let disks: BTreeSet<SandboxId> = app.runtime.disks().await.map_err(runtime_error)?.into_iter().collect();
    let known: BTreeSet<SandboxId> = before.iter().map(|sandbox| sandbox.facts.id.clone()).collect();
    let claimed = |id: &SandboxId| known.contains(id) || app.registry.any(id).is_some() || app.pool.knows(id);
    let mut leaks: Vec<_> =
        resources.into_iter().map(|leak| LeakShown::new(word(leak.kind), leak.name)).collect();
    let mut add = |kind, id: &SandboxId| leaks.push(LeakShown::new(kind, id.to_string()));
    running.iter().filter(|id| !claimed(id)).for_each(|id| add("sandbox", id));
    disks.iter().filter(|id| !claimed(id)).for_each(|id| add("disk", id));
    for sandbox in before {
        let id = &sandbox.facts.id;
        let still = app.registry.any(id).is_some_and(|now| has_disk(now.state()));
        if still && !disks.contains(id) && !running.contains(id) {
            add("row", id);
        }
    }
    leaks.sort();
    Ok(leaks)
}

/// Whether a sandbox in this state must have something on the host.
fn has_disk(state: State) -> bool {
    match state {
        State::Running(_)
        | State::Sleeping { .. }
        | State::Asleep { .. }
        | State::Waking { .. }
        | State::Freezing(_)
        | State::Frozen(_)
        | State::Thawing(_)
        | State::Killed { .. } => true,
        State::Creating(_) | State::Failed { .. } | State::Deleting => false,
    }
}

fn word(kind: LeakKind) -> &'static str {
    match kind {
        LeakKind::Cgroup => "cgroup",
        LeakKind::Process => "process",
        LeakKind::Ids => "ids",
        LeakKind::Socket => "socket",
        LeakKind::Mount => "mount",
        LeakKind::Record => "record",
    }
}
