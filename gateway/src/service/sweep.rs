//! What happens to sandboxes by themselves: those whose time is over are deleted, those that nobody uses rest. One task
//! looks once a second; the look is in memory, only agents of idle sandboxes are asked.

use super::{destroy, life};
use crate::app::App;
use crate::error::chain;
use crate::limits;
use crate::registry::{Goal, Sandbox, State};
use bulkhead_protocol::SandboxId;
use hyper::StatusCode;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Looks for ever.
pub(crate) async fn sweep(app: Arc<App>) {
    let mut ticks = interval(limits::SWEEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut tasks, mut busy) = (JoinSet::new(), HashMap::new());
    let mut keys = Instant::now();
    loop {
        ticks.tick().await;
        while let Some(done) = tasks.try_join_next_with_id() {
            // Also one that failed is looked at again.
            let task = done.map_or_else(
                |error| {
                    tracing::error!(%error, "a look after an idle sandbox failed");
                    error.id()
                },
                |(task, ())| task,
            );
            busy.remove(&task);
        }
        for sandbox in app.registry.all() {
            look(&app, sandbox, &mut tasks, &mut busy);
        }
        if keys.elapsed() >= limits::CREATE_KEY_SWEEP {
            keys = Instant::now();
            if let Err(error) = app.store.forget_claims().await {
                tracing::warn!(error = chain(&error), "old keys of creates were not forgotten");
            }
        }
    }
}

/// Begins what has to happen to one of them.
fn look(app: &Arc<App>, sandbox: Arc<Sandbox>, tasks: &mut JoinSet<()>, busy: &mut HashMap<Id, SandboxId>) {
    let id = sandbox.facts.id.clone();
    // One that is being deleted goes by itself.
    let expired = sandbox.state() != State::Deleting
        && sandbox.facts.settings.expires.as_ref().is_some_and(|end| app.clock.is_past(end));
    let limit = sandbox.idle_limit();
    let rests = limit.filter(|limit| sandbox.idle().is_some_and(|idle| idle >= *limit));
    if (!expired && rests.is_none()) || busy.values().any(|other| *other == id) {
        return;
    }
    let app = Arc::clone(app);
    if expired {
        busy.insert(tasks.spawn(async move { expire(&app, &sandbox).await }).id(), id);
    } else if let Some(limit) = rests
        && busy.len() < limits::SWEEP_ASKS
    {
        busy.insert(tasks.spawn(async move { rest(&app, &sandbox, limit).await }).id(), id);
    }
}

async fn expire(app: &Arc<App>, sandbox: &Sandbox) {
    let id = &sandbox.facts.id;
    tracing::info!(sandbox = %id, "the time of a sandbox is over");
    let outcome = destroy::delete(app, &sandbox.facts.org, id).await;
    // Somebody else may have deleted it.
    if outcome.as_ref().is_err_and(|error| error.status == StatusCode::NOT_FOUND) {
        return;
    }
    app.audit.system(&app.metrics, &sandbox.facts.org, "expire", id.as_str(), &outcome);
    if let Err(error) = outcome {
        tracing::warn!(sandbox = %id, error = error.chain(), "a sandbox whose time is over is still there");
    }
}

/// Puts an idle sandbox to sleep; where something runs in it, it stands still instead and loses nothing.
async fn rest(app: &Arc<App>, sandbox: &Arc<Sandbox>, limit: Duration) {
    let goal = match app.agents.executions(&sandbox.facts.id).await {
        Ok(list) if list.executions.iter().all(|execution| execution.ended.is_some()) => Goal::Asleep,
        Ok(_) => Goal::Frozen,
        Err(error) => {
            tracing::debug!(sandbox = %sandbox.facts.id, %error, "an idle agent does not say what runs");
            Goal::Frozen
        }
    };
    tracing::debug!(sandbox = %sandbox.facts.id, ?goal, "idle");
    // Somebody may use it again by now: then nothing was done.
    let Some(outcome) = life::rest(app, sandbox, goal, limit).await else { return };
    let action = if goal == Goal::Asleep { "auto-sleep" } else { "auto-freeze" };
    app.audit.system(&app.metrics, &sandbox.facts.org, action, sandbox.facts.id.as_str(), &outcome);
    if let Err(error) = outcome {
        tracing::warn!(sandbox = %sandbox.facts.id, error = error.chain(), "an idle sandbox does not rest");
    }
}
