//! Compares the two truths: what the runtime has, and what the store says. The runtime is right about what
//! runs, the store about what may. Must never remove what only the runtime knows: that is reported.

use crate::app::App;
use crate::error::chain;
use crate::registry::{Event, Sandbox, State};
use crate::runtime_client::{CallError, Notice};
use crate::service::destroy;
use crate::store::{Row, Status};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::SandboxStatus;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// Attempts of one comparison, and the pause between them: a runtime that just started may be busy adopting.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Fills the registry from the store. What is half made or half deleted, nobody was told of or everybody was
/// told is gone: those go.
pub(crate) fn load(app: &Arc<App>, rows: Vec<Row>) {
    for row in rows {
        let state = match row.status {
            Status::Running => State::Running { launch: row.launch, health: crate::registry::Health::Sound },
            Status::Killed => State::Killed,
            Status::Error => State::Failed,
            Status::Creating | Status::Deleting => State::Deleting,
        };
        let id = row.facts.id.clone();
        match app.registry.insert(Sandbox::new(row.facts, state)) {
            Ok(sandbox) if state == State::Deleting => {
                tokio::spawn(destroy::insist(Arc::clone(app), sandbox));
            }
            Ok(_) => {}
            Err(_) => tracing::error!(sandbox = %id, "the store has more sandboxes than a gateway may hold"),
        }
    }
}

/// Handles what the runtime's connection tells, for ever.
pub(crate) async fn watch(app: Arc<App>, mut notices: UnboundedReceiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Connected => drop(tokio::spawn(insist(Arc::clone(&app)))),
            Notice::Died { id, launch } => {
                if let Some(sandbox) = app.registry.any(&id) {
                    settle(&app, &sandbox, Event::Died { launch }).await;
                }
            }
        }
    }
}

/// Compares until it succeeds or the next connection does it.
pub(crate) async fn insist(app: Arc<App>) {
    for _ in 0..ATTEMPTS {
        match compare(&app).await {
            Ok(()) => return,
            Err(error) => tracing::warn!(error = chain(&error), "the runtime's list could not be read"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn compare(app: &App) -> Result<(), CallError> {
    // Taken before the list: what begins or ends while the list is read is judged by who makes it.
    let before = app.registry.all();
    let known: Vec<_> = before.into_iter().map(|sandbox| (sandbox.state(), sandbox)).collect();
    let listed = app.runtime.list().await?;
    let by_id: HashMap<&SandboxId, &SandboxStatus> = listed.iter().map(|row| (&row.id, row)).collect();
    let ours: HashSet<&SandboxId> = known.iter().map(|(_, sandbox)| &sandbox.facts.id).collect();
    let mut leaks = 0;
    for row in &listed {
        if !ours.contains(&row.id) && app.registry.any(&row.id).is_none() {
            leaks += 1;
            tracing::error!(sandbox = %row.id, "LEAK: the runtime has a sandbox that the store does not know");
        }
    }
    app.metrics.leaks.set(leaks);
    for (state, sandbox) in known.iter().filter(|(state, _)| state.is_running()) {
        let event = match by_id.get(&sandbox.facts.id) {
            None => Event::Missing,
            Some(SandboxStatus { launch, .. }) => Event::Launched { launch: *launch },
        };
        tracing::debug!(sandbox = %sandbox.facts.id, ?state, ?event, "compared");
        settle(app, sandbox, event).await;
    }
    Ok(())
}

/// Applies an event and writes down what it changed.
async fn settle(app: &App, sandbox: &Sandbox, event: Event) {
    let (status, launch) = match sandbox.apply(event) {
        Ok(State::Killed) => (Status::Killed, 0),
        Ok(State::Running { launch, .. }) => (Status::Running, launch),
        Ok(State::Creating { .. } | State::Failed | State::Deleting) | Err(_) => return,
    };
    if status == Status::Killed {
        tracing::warn!(sandbox = %sandbox.facts.id, ?event, "a sandbox died");
    }
    if let Err(error) = app.store.set_status(sandbox.facts.id.clone(), status, launch).await {
        tracing::error!(sandbox = %sandbox.facts.id, error = chain(&error), "a sandbox's state was not noted");
    }
}
