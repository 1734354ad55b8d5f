//! Compares the two truths: what the runtime has, and what the store says. The runtime is right about what
//! runs, the store about what may. Must never remove what only the runtime knows: that is reported.

use crate::app::App;
use crate::clock::Deadline;
use crate::error::chain;
use crate::registry::{Birth, Event, Fame, Motion, Run, Sandbox, State};
use crate::runtime_client::{CallError, Notice};
use crate::sandbox::Facts;
use crate::service::destroy::{self, Cause};
use crate::service::{create, life, pool};
use crate::store::{self, Row, Status};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{Life, SandboxStatus};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

/// Attempts of one comparison, and the pause between them: a runtime that just started may be busy adopting.
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Fills the registry from the store. What was under way goes on: what is half made is finished where somebody was told
/// of it and else removed, what is half asleep or half deleted gets there.
pub(crate) async fn load(app: &Arc<App>, rows: Vec<Row>) {
    for Row { mut facts, status, launch } in rows {
        renew(app, &mut facts).await;
        let state = match status {
            // The number of the launch that is made now, if one is.
            Status::Promised => State::Creating(Birth::of(launch.saturating_add(1))),
            Status::Running => State::Running(Run::sound(launch)),
            Status::Sleeping => State::Sleeping { launch },
            Status::Asleep => State::Asleep { launch },
            Status::Killed => State::Killed { launch },
            Status::Error => State::Failed { launch },
            Status::Creating | Status::Deleting => State::Deleting,
        };
        // Who follows the organisation is told of the end of what was known, and of nothing else.
        let (fame, cause) = match (status, launch) {
            (Status::Creating | Status::Promised, _) | (Status::Deleting, store::NEVER) => {
                (Fame::Unknown, Cause::CreateFailed)
            }
            _ => (Fame::Known, Cause::Deleted),
        };
        let id = facts.id.clone();
        let hold = app.accounts.of(&facts.org).adopt_sandbox(facts.settings.share());
        let feed = app.news.of(&facts.org);
        let Ok(sandbox) = app.registry.insert(Sandbox::new(facts, state, fame, hold, feed)) else {
            tracing::error!(sandbox = %id, "the store has more sandboxes than a gateway may hold");
            continue;
        };
        let app = Arc::clone(app);
        match state {
            State::Deleting => drop(tokio::spawn(destroy::insist(app, sandbox, cause))),
            State::Creating(birth) => drop(tokio::spawn(create::finish(app, sandbox, birth.launch))),
            State::Sleeping { launch } => drop(tokio::spawn(life::insist_on_sleep(app, sandbox, launch))),
            _ => {}
        }
    }
}

/// A deadline of an earlier boot becomes one of this boot, once.
async fn renew(app: &App, facts: &mut Facts) {
    let settings = &mut facts.settings;
    let most = Duration::from_secs(u64::from(settings.ttl_s.unwrap_or(0)));
    let renewed: Option<Deadline> = settings.expires.as_ref().and_then(|end| app.clock.renew(end, most));
    let Some(renewed) = renewed else { return };
    settings.expires = Some(renewed);
    if let Err(error) = app.store.set_settings(facts.id.clone(), settings.clone()).await {
        tracing::error!(sandbox = %facts.id, error = chain(&error), "a deadline was not noted");
    }
}

/// Handles what the runtime's connection tells, for ever.
pub(crate) async fn watch(app: Arc<App>, mut notices: UnboundedReceiver<Notice>) {
    while let Some(notice) = notices.recv().await {
        match notice {
            Notice::Connected => drop(tokio::spawn(insist(Arc::clone(&app)))),
            Notice::Died { id, launch } => died(&app, &id, launch).await,
        }
    }
}

/// Tells everybody whose it may be that a launch has ended.
async fn died(app: &Arc<App>, id: &SandboxId, launch: u32) {
    // The pool first: one that is just being taken is in the registry before that asks the pool.
    pool::died(app, id);
    if let Some(sandbox) = app.registry.any(id) {
        settle(app, &sandbox, Event::Died { launch }).await;
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

async fn compare(app: &Arc<App>) -> Result<(), CallError> {
    // Taken before the list: what changes while the list is read is judged by who changes it.
    let known: Vec<_> = app.registry.all().into_iter().map(|sandbox| (sandbox.snapshot(), sandbox)).collect();
    let spares = app.pool.ids();
    let listed = app.runtime.list().await?;
    let by_id: HashMap<&SandboxId, &SandboxStatus> = listed.iter().map(|row| (&row.id, row)).collect();
    let mut leaks = 0;
    for row in &listed {
        if app.registry.any(&row.id).is_none()
            && !app.pool.knows(&row.id)
            && !known.iter().any(|(_, sandbox)| sandbox.facts.id == row.id)
        {
            leaks += 1;
            tracing::error!(sandbox = %row.id, "LEAK: the runtime has a sandbox that the store does not know");
        }
    }
    app.metrics.leaks.set(leaks);
    for id in spares.iter().filter(|id| !by_id.contains_key(id)) {
        died(app, id, create::FIRST).await;
    }
    for ((state, version), sandbox) in &known {
        let event = match (by_id.get(&sandbox.facts.id), state.run()) {
            (Some(row), _) => Event::Seen { launch: row.launch, motion: motion(row.life) },
            (None, Some(run)) => Event::Died { launch: run.launch },
            (None, None) => continue,
        };
        let outcome = sandbox.apply_since(*version, event);
        tracing::debug!(sandbox = %sandbox.facts.id, ?state, ?event, ?outcome, "compared");
        note(app, sandbox, event, outcome.ok()).await;
    }
    Ok(())
}

fn motion(life: Life) -> Motion {
    match life {
        Life::Running => Motion::Moving,
        Life::Frozen => Motion::Still,
    }
}

/// Applies an event and writes down what it changed.
pub(crate) async fn settle(app: &App, sandbox: &Sandbox, event: Event) {
    let outcome = sandbox.apply(event).ok();
    note(app, sandbox, event, outcome).await;
}

async fn note(app: &App, sandbox: &Sandbox, event: Event, state: Option<State>) {
    let (status, launch) = match state {
        Some(State::Killed { launch }) => (Status::Killed, launch),
        Some(State::Running(run) | State::Frozen(run)) => (Status::Running, run.launch),
        // Nothing has changed, or who drives it writes it down.
        _ => return,
    };
    if status == Status::Killed {
        tracing::warn!(sandbox = %sandbox.facts.id, ?event, "a sandbox died");
    }
    if let Err(error) = app.store.set_status(sandbox.facts.id.clone(), status, launch).await {
        tracing::error!(sandbox = %sandbox.facts.id, error = chain(&error), "a sandbox's state was not noted");
    }
}
