//! Making a sandbox: row → runtime → the agent's hello → row `running` → answer; or, where one was made ahead, its new
//! name → row → answer. It runs as a task of its own: a client that goes away in the middle changes nothing.

mod key;

pub(crate) use key::claim;

use super::destroy::{self, Cause};
use super::launch::launch;
use super::{pool, runtime_error};
use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult, chain};
use crate::failpoint::failpoint;
use crate::ids;
use crate::limits;
use crate::quota::SandboxHold;
use crate::registry::{Event, Fame, Sandbox, State};
use crate::sandbox::{Facts, MadeOf, Settings};
use crate::store::{Claim, Claimed, Row, Status, now_us};
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::Disk;
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// The number of a sandbox's first launch.
pub(crate) const FIRST: u32 = 1;

/// What a client asked for, checked.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) image: ImageName,
    pub(crate) settings: Settings,
    pub(crate) answer: Answer,
}

/// When the client is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Once commands can run.
    WhenReady,
    /// At once; the rest happens behind.
    AtOnce,
}

/// Makes a sandbox for `principal`, or finds the one that its key has made.
pub(crate) async fn create(
    app: &Arc<App>,
    principal: Principal,
    order: Order,
    claim: Option<Claim>,
) -> ApiResult<Arc<Sandbox>> {
    let task = tokio::spawn(begin(Arc::clone(app), principal, order, claim).in_current_span());
    task.await.map_err(ApiError::internal)?
}

async fn begin(
    app: Arc<App>,
    principal: Principal,
    order: Order,
    claim: Option<Claim>,
) -> ApiResult<Arc<Sandbox>> {
    app.pool.busy();
    for _ in 0..limits::CREATE_KEY_LOOKS {
        if let Some(claim) = &claim
            && let Some(sandbox) = key::find(&app, &principal.org, claim, order.answer).await?
        {
            return Ok(sandbox);
        }
        let facts = facts(&app, &principal, &order).await?;
        if let Some(sandbox) = make(&app, facts, claim.clone(), order.answer).await? {
            return Ok(sandbox);
        }
    }
    Err(ApiError::new(StatusCode::CONFLICT, "Idempotency-Key: is being used by other requests"))
}

async fn facts(app: &App, principal: &Principal, order: &Order) -> ApiResult<Facts> {
    let org = Some(principal.org.clone());
    let found = app.runtime.resolve_image(org, order.image.clone()).await.map_err(runtime_error)?;
    let ttl = order.settings.ttl_s.map(|seconds| Duration::from_secs(u64::from(seconds)));
    Ok(Facts {
        id: ids::sandbox(&app.node)?,
        org: principal.org.clone(),
        created_by: principal.user.clone(),
        created_us: now_us(),
        name: order.name.clone(),
        image: found.name.to_string(),
        settings: Settings {
            made_of: MadeOf { id: found.id, defaults: found.defaults },
            expires: ttl.map(|ttl| app.clock.after(ttl)),
            // The answer says what it got.
            limits: found.most.lower(order.settings.limits),
            ..order.settings.clone()
        },
    })
}

/// Makes a sandbox of these facts; `None` where another request took the key meanwhile.
async fn make(
    app: &Arc<App>,
    facts: Facts,
    claim: Option<Claim>,
    answer: Answer,
) -> ApiResult<Option<Arc<Sandbox>>> {
    let (account, share) = (app.accounts.of(&facts.org), facts.settings.share());
    // Before anything is written: a refusal leaves nothing to undo.
    let mut hold = account.take_sandbox(share)?;
    if let Some(id) = app.pool.take(&facts) {
        match pool::assign(app, Facts { id, ..facts.clone() }, claim.clone(), hold).await {
            Ok(assigned) => {
                app.metrics.created("pool");
                return Ok(assigned);
            }
            Err(error) => tracing::warn!(error = error.chain(), "a sandbox made ahead could not be used"),
        }
        hold = account.take_sandbox(share)?;
    }
    app.fair.has_room(&facts.org)?;
    // Who is answered at once is told of a sandbox, and who has a key may ask again: if we die now, the next start
    // finishes it. Nobody was told of the other kind, so the next start removes it.
    let status = match (answer, &claim) {
        (Answer::WhenReady, None) => Status::Creating,
        (Answer::AtOnce, _) | (Answer::WhenReady, Some(_)) => Status::Promised,
    };
    let Some(sandbox) = insert(app, Row { facts, status, launch: FIRST }, claim, hold).await? else {
        return Ok(None);
    };
    failpoint!(CreateRow);
    app.metrics.created("new");
    match answer {
        Answer::WhenReady => {
            if let Err(error) = launch(app, &sandbox, FIRST, Disk::New).await {
                withdraw(app, &sandbox, FIRST).await;
                return Err(error);
            }
        }
        Answer::AtOnce => {
            let launch = behind(Arc::clone(app), Arc::clone(&sandbox), FIRST);
            drop(tokio::spawn(launch.in_current_span()));
        }
    }
    Ok(Some(sandbox))
}

/// Entry and row; `None` where the key is taken. The entry comes first: who finds the row's key must find the sandbox.
pub(super) async fn insert(
    app: &App,
    row: Row,
    claim: Option<Claim>,
    hold: SandboxHold,
) -> ApiResult<Option<Arc<Sandbox>>> {
    let full = |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "there is no room for another sandbox");
    let feed = app.news.of(&row.facts.org);
    let sandbox = app
        .registry
        .insert(Sandbox::new(row.facts.clone(), State::NEW, Fame::Unknown, hold, feed))
        .map_err(full)?;
    let outcome = app.store.put_sandbox(row, claim).await;
    if outcome.as_ref().is_ok_and(|claimed| *claimed == Claimed::Made) {
        return Ok(Some(sandbox));
    }
    app.registry.remove(&sandbox.facts.id);
    outcome.map(|_| None).map_err(ApiError::from)
}

/// Removes what was begun of a create that failed. What cannot be removed now is removed later.
pub(super) async fn withdraw(app: &Arc<App>, sandbox: &Arc<Sandbox>, launch: u32) {
    let Facts { id, org, .. } = &sandbox.facts;
    // Before anybody who waits for this create looks again: the next with this key shall make another. Where it fails,
    // it is part of what is tried until it succeeds.
    if let Err(error) = app.store.withdraw(id.clone()).await {
        tracing::error!(sandbox = %id, error = chain(&error), "the key of a failed create is not free yet");
    }
    failpoint!(CreateWithdrawn);
    if let Err(refusal) = sandbox.apply(Event::Withdrawn { launch }) {
        tracing::error!(sandbox = %id, ?refusal, "a failed create is not withdrawn");
        return;
    }
    let outcome = destroy::end(app, sandbox, Cause::CreateFailed).await;
    app.audit.system(&app.metrics, org, "delete failed create", id.as_str(), &outcome);
    if let Err(error) = outcome {
        tracing::warn!(sandbox = %id, error = error.chain(), "a failed create is removed later");
    }
}

/// What was promised is tried again while a runtime is away or the host is full.
async fn launch_patiently(app: &App, sandbox: &Sandbox, number: u32) -> ApiResult<()> {
    let mut pause = limits::PROMISE_FIRST;
    let mut outcome = launch(app, sandbox, number, Disk::New).await;
    loop {
        let Err(error) = outcome else { return Ok(()) };
        let passes = matches!(error.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT);
        if !passes || pause > limits::PROMISE_MOST {
            return Err(error);
        }
        tracing::warn!(sandbox = %sandbox.facts.id, error = error.chain(), "a sandbox does not start yet");
        tokio::time::sleep(pause).await;
        pause *= 2;
        // Of a launch whose answer was lost anything may be there.
        outcome = match app.runtime.destroy(sandbox.facts.id.clone()).await {
            Ok(()) => launch(app, sandbox, number, Disk::New).await,
            Err(error) => Err(runtime_error(error)),
        };
    }
}

async fn behind(app: Arc<App>, sandbox: Arc<Sandbox>, number: u32) {
    let Err(error) = launch_patiently(&app, &sandbox, number).await else { return };
    let id = &sandbox.facts.id;
    tracing::warn!(sandbox = %id, error = error.chain(), "a sandbox did not start");
    if let Err(error) = app.runtime.destroy(id.clone()).await {
        tracing::warn!(sandbox = %id, error = chain(&error), "a failed sandbox was not destroyed");
    }
    if let Err(error) = app.store.set_status(id.clone(), Status::Error, number).await {
        tracing::error!(sandbox = %id, error = chain(&error), "a failed sandbox was not noted");
    }
    if let Err(refusal) = sandbox.apply(Event::LaunchFailed { launch: number }) {
        tracing::debug!(?refusal, "a sandbox ended while it was made");
    }
}

/// Finishes what an earlier gateway promised: whatever it left is destroyed, and the launch is made anew, as `number`.
pub(crate) async fn finish(app: Arc<App>, sandbox: Arc<Sandbox>, number: u32) {
    let id = &sandbox.facts.id;
    let begun = async {
        app.store.set_launch(id.clone(), number).await.map_err(ApiError::from)?;
        app.runtime.destroy(id.clone()).await.map_err(runtime_error)
    };
    // A failure shows again in the launch, which then leaves a sandbox with status error.
    if let Err(error) = begun.await {
        tracing::warn!(sandbox = %id, error = error.chain(), "a create that was cut in half is not cleared away");
    }
    behind(app, sandbox, number).await;
}
