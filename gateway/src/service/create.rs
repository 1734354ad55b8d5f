//! Making a sandbox: row `creating` → runtime → the agent's hello → row `running` → answer. It runs as a task
//! of its own: a client that goes away in the middle changes nothing.

use super::{destroy, runtime_error};
use crate::agent_client::AgentError;
use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult, chain};
use crate::ids;
use crate::limits;
use crate::registry::{Event, Sandbox, State};
use crate::sandbox::{Facts, Settings};
use crate::store::{Row, Status, now_us};
use bulkhead_protocol::runtime::{CreateSandbox, Disk, MAX_HOSTNAME};
use hyper::StatusCode;
use std::sync::Arc;

/// What a client asked for, checked.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) image: String,
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

/// Makes a sandbox for `principal`.
pub(crate) async fn create(app: &Arc<App>, principal: Principal, order: Order) -> ApiResult<Arc<Sandbox>> {
    let task = tokio::spawn(begin(Arc::clone(app), principal, order));
    task.await.map_err(ApiError::internal)?
}

async fn begin(app: Arc<App>, principal: Principal, order: Order) -> ApiResult<Arc<Sandbox>> {
    let image = app.runtime.resolve_image(order.image).await.map_err(runtime_error)?;
    let facts = Facts {
        id: ids::sandbox(&app.node)?,
        org: principal.org,
        created_by: principal.user,
        created_us: now_us(),
        name: order.name,
        image,
        settings: order.settings,
    };
    // Who is answered at once is told of a running sandbox; if we die now, the next start finds it or calls
    // it killed. Nobody was told of the other kind, so the next start removes it.
    let status = match order.answer {
        Answer::WhenReady => Status::Creating,
        Answer::AtOnce => Status::Running,
    };
    let full = |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "there is no room for another sandbox");
    let row = Row { facts: facts.clone(), status, launch: 0 };
    let sandbox = app.registry.insert(Sandbox::new(facts, State::NEW)).map_err(full)?;
    if let Err(error) = app.store.insert_sandbox(row).await {
        app.registry.remove(&sandbox.facts.id);
        return Err(error.into());
    }
    match order.answer {
        Answer::WhenReady => match launch(&app, &sandbox).await {
            Ok(()) => Ok(sandbox),
            Err(error) => {
                withdraw(&app, &sandbox).await;
                Err(error)
            }
        },
        Answer::AtOnce => {
            tokio::spawn(behind(app, Arc::clone(&sandbox)));
            Ok(sandbox)
        }
    }
}

/// From an entry `Creating` to one that runs.
async fn launch(app: &App, sandbox: &Sandbox) -> ApiResult<()> {
    let facts = &sandbox.facts;
    let spec = CreateSandbox {
        id: facts.id.clone(),
        launch: 1,
        disk: Disk::New,
        image: facts.image.clone(),
        limits: facts.settings.limits,
        hostname: hostname(&facts.name),
    };
    let launch = app.runtime.create(spec).await.map_err(runtime_error)?;
    app.agents.hello(&facts.id, ids::characters::<26>()?).await.map_err(agent_error)?;
    app.store.set_status(facts.id.clone(), Status::Running, launch).await?;
    if sandbox.apply(Event::Launched { launch }) == Ok(State::Killed) {
        return Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the sandbox died while it was made"));
    }
    Ok(())
}

fn agent_error(error: AgentError) -> ApiError {
    let (status, text) = match error {
        AgentError::Late(_) => (StatusCode::GATEWAY_TIMEOUT, "the sandbox did not answer in time"),
        AgentError::Unreachable(_)
        | AgentError::Malformed(_)
        | AgentError::Closed
        | AgentError::Refused(_)
        | AgentError::Undelivered(_)
        | AgentError::NotFound
        | AgentError::Conflict
        | AgentError::Stranger => (StatusCode::INTERNAL_SERVER_ERROR, "the sandbox did not start"),
    };
    ApiError::new(status, text).because(error)
}

/// Removes what was begun. What cannot be removed now is removed later.
async fn withdraw(app: &Arc<App>, sandbox: &Arc<Sandbox>) {
    // Refused where the launch had succeeded and the agent died; it is deleted all the same.
    if let Err(refusal) = sandbox.apply(Event::LaunchFailed) {
        tracing::debug!(?refusal, "a sandbox ended while it was made");
    }
    if sandbox.apply(Event::Delete).is_ok()
        && let Err(error) = destroy::end(app, sandbox).await
    {
        tracing::warn!(sandbox = %sandbox.facts.id, error = error.chain(), "a failed create is removed later");
    }
}

async fn behind(app: Arc<App>, sandbox: Arc<Sandbox>) {
    let Err(error) = launch(&app, &sandbox).await else { return };
    let id = &sandbox.facts.id;
    tracing::warn!(sandbox = %id, error = error.chain(), "a sandbox did not start");
    if let Err(error) = app.runtime.destroy(id.clone()).await {
        tracing::warn!(sandbox = %id, error = chain(&error), "a failed sandbox was not destroyed");
    }
    if let Err(error) = app.store.set_status(id.clone(), Status::Error, 0).await {
        tracing::error!(sandbox = %id, error = chain(&error), "a failed sandbox was not noted");
    }
    if let Err(refusal) = sandbox.apply(Event::LaunchFailed) {
        tracing::debug!(?refusal, "a sandbox ended while it was made");
    }
}

/// A host name of what fits of the sandbox's name.
fn hostname(name: &str) -> String {
    name.get(..MAX_HOSTNAME.min(name.len())).unwrap_or("sandbox").trim_end_matches(['-', '.']).to_owned()
}

/// Waits until a create that is under way has ended.
pub(crate) async fn settled(sandbox: &Sandbox) -> ApiResult<State> {
    let state = sandbox.state();
    if !state.is_creating() {
        return Ok(state);
    }
    let late = |_| ApiError::new(StatusCode::GATEWAY_TIMEOUT, "the sandbox is still being made");
    tokio::time::timeout(limits::CREATE_PATIENCE, sandbox.until(|state| !state.is_creating()))
        .await
        .map_err(late)
}

#[cfg(test)]
mod tests {
    use super::hostname;

    #[test]
    fn a_host_name_is_the_beginning_of_the_name() {
        assert_eq!(hostname("box.example"), "box.example");
        let long = format!("{}.b", "a".repeat(63));
        assert_eq!(hostname(&long), "a".repeat(63));
        assert_eq!(hostname(&"a".repeat(200)).len(), 64);
    }
}
