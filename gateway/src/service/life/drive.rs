//! Out of each state that does not last. The order of effects is made for a `kill -9` between any two of them:
//!
//! - Sleep: row `sleeping` → stop → row `asleep`. The next start asks for the stop again; where nothing runs it is over.
//! - Wake: row keeps its word and takes the new launch's number → launch → row `running`. What the runtime lists at the
//!   next start runs, whatever the row says: a stop is proven before a row says `asleep`, so it can only be a wake that
//!   was cut in half. What it does not list is where it was.
//! - Freeze and thaw: no row. The runtime says who stands still.

use crate::app::App;
use crate::error::{ApiResult, chain};
use crate::failpoint::failpoint;
use crate::limits;
use crate::reconcile;
use crate::registry::{Birth, Event, Rest, Run, Sandbox, State};
use crate::runtime_client::CallError;
use crate::service::{launch, runtime_error};
use crate::store::Status;
use bulkhead_protocol::runtime::{Disk, RefusalKind};
use std::sync::Arc;

/// Drives a sandbox out of the state that the caller has won.
pub(super) async fn out_of(app: Arc<App>, sandbox: Arc<Sandbox>, state: State) -> ApiResult<()> {
    match state {
        State::Sleeping { launch } => sleep(&app, &sandbox, launch).await,
        State::Waking { birth, from } => wake(&app, &sandbox, birth, from).await,
        State::Freezing(run) => freeze(&app, &sandbox, run).await,
        State::Thawing(run) => thaw(&app, &sandbox, run).await,
        // Their drivers are elsewhere, or there is nothing to drive.
        State::Creating(_)
        | State::Running(_)
        | State::Asleep { .. }
        | State::Frozen(_)
        | State::Killed { .. }
        | State::Failed { .. }
        | State::Deleting => Ok(()),
    }
}

/// Ends what runs. Where that fails it is tried again behind: half asleep is no state to stay in.
async fn sleep(app: &Arc<App>, sandbox: &Arc<Sandbox>, launch: u32) -> ApiResult<()> {
    let outcome = stop(app, sandbox, launch).await;
    if outcome.is_err() {
        tokio::spawn(insist_on_sleep(Arc::clone(app), Arc::clone(sandbox), launch));
    }
    outcome
}

async fn stop(app: &App, sandbox: &Sandbox, launch: u32) -> ApiResult<()> {
    let id = &sandbox.facts.id;
    app.store.set_status(id.clone(), Status::Sleeping, launch).await?;
    failpoint!(SleepRow);
    app.runtime.stop(id.clone()).await.map_err(runtime_error)?;
    failpoint!(SleepStopped);
    app.store.set_status(id.clone(), Status::Asleep, launch).await?;
    failpoint!(SleepDone);
    note(sandbox, Event::Stopped { launch });
    Ok(())
}

/// Tries until it succeeds, or somebody deletes it. Also for what an earlier gateway left half asleep.
pub(crate) async fn insist_on_sleep(app: Arc<App>, sandbox: Arc<Sandbox>, launch: u32) {
    let mut pause = limits::DESTROY_FIRST;
    while let Err(error) = stop(&app, &sandbox, launch).await {
        tracing::warn!(sandbox = %sandbox.facts.id, error = error.chain(), "a sandbox is not asleep yet");
        tokio::time::sleep(pause).await;
        if sandbox.state() != (State::Sleeping { launch }) {
            return;
        }
        pause = (pause * 2).min(limits::DESTROY_MOST);
    }
}

async fn wake(app: &App, sandbox: &Sandbox, birth: Birth, from: Rest) -> ApiResult<()> {
    let (id, number) = (&sandbox.facts.id, birth.launch);
    let outcome = async {
        app.store.set_launch(id.clone(), number).await?;
        failpoint!(WakeRow);
        // A wake of a gateway that was killed may have come to life after we read the runtime's list.
        app.runtime.stop(id.clone()).await.map_err(runtime_error)?;
        let disk = match from {
            // Where its disk is lost the launch fails: an empty one would be passed off as the tenant's.
            Rest::Asleep | Rest::Killed => Disk::Kept,
            // A first launch that failed left none.
            Rest::Failed => {
                let disks = app.runtime.disks().await.map_err(runtime_error)?;
                if disks.contains(id) { Disk::Kept } else { Disk::New }
            }
        };
        launch::launch(app, sandbox, number, disk).await
    };
    let outcome = outcome.await;
    if let Err(error) = &outcome {
        tracing::warn!(sandbox = %id, launch = number, error = error.chain(), "a sandbox was not woken");
        // Also where no answer came: nothing of it may run when the state says so.
        if let Err(error) = app.runtime.stop(id.clone()).await {
            tracing::warn!(sandbox = %id, error = chain(&error), "a failed launch was not stopped");
        }
        note(sandbox, Event::LaunchFailed { launch: number });
    }
    outcome
}

async fn freeze(app: &Arc<App>, sandbox: &Arc<Sandbox>, run: Run) -> ApiResult<()> {
    let launch = run.launch;
    let error = match app.runtime.freeze(sandbox.facts.id.clone()).await {
        Ok(()) => {
            failpoint!(FreezeDone);
            note(sandbox, Event::Froze { launch });
            return Ok(());
        }
        Err(error) => error,
    };
    if is_gone(&error) {
        reconcile::settle(app, sandbox, Event::Died { launch }).await;
    } else {
        // It may stand still or not.
        note(sandbox, Event::FreezeFailed { launch });
        tokio::spawn(insist_on_thaw(Arc::clone(app), Arc::clone(sandbox), launch));
    }
    Err(runtime_error(error))
}

/// Gives processes time again. Where that fails it is tried again behind: nobody may be left standing still.
async fn thaw(app: &Arc<App>, sandbox: &Arc<Sandbox>, run: Run) -> ApiResult<()> {
    let outcome = move_again(app, sandbox, run.launch).await;
    if outcome.is_err() {
        tokio::spawn(insist_on_thaw(Arc::clone(app), Arc::clone(sandbox), run.launch));
    }
    outcome.map_err(runtime_error)
}

async fn move_again(app: &App, sandbox: &Sandbox, launch: u32) -> Result<(), CallError> {
    match app.runtime.thaw(sandbox.facts.id.clone()).await {
        Ok(()) => {
            failpoint!(ThawDone);
            note(sandbox, Event::Thawed { launch });
        }
        Err(error) if is_gone(&error) => {
            reconcile::settle(app, sandbox, Event::Died { launch }).await;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn insist_on_thaw(app: Arc<App>, sandbox: Arc<Sandbox>, launch: u32) {
    let mut pause = limits::DESTROY_FIRST;
    while let Err(error) = move_again(&app, &sandbox, launch).await {
        tracing::warn!(sandbox = %sandbox.facts.id, error = chain(&error), "a sandbox is not thawed yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::DESTROY_MOST);
    }
}

/// Whether the runtime says that nothing of it runs.
fn is_gone(error: &CallError) -> bool {
    matches!(error, CallError::Refused { kind: RefusalKind::Unknown | RefusalKind::NotRunning, .. })
}

/// The end of a transition; a death may have come before it.
fn note(sandbox: &Sandbox, event: Event) {
    if let Err(refusal) = sandbox.apply(event) {
        tracing::debug!(sandbox = %sandbox.facts.id, ?event, ?refusal, "a transition was overtaken");
    }
}
