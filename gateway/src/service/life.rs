//! Where a sandbox is brought when somebody wants it there: awake for a call, asleep, frozen. Each step is driven by one
//! task of its own, whoever asked for it: a client that goes away changes nothing, everybody else waits and looks again.

mod drive;

pub(crate) use drive::insist_on_sleep;

use super::exec;
use crate::agent_client::AgentError;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::limits;
use crate::registry::{Advance, Departure, Goal, Obstacle, Sandbox, State, Visit};
use hyper::StatusCode;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// Brings a sandbox to `goal`, step by step.
pub(crate) async fn reach(app: &Arc<App>, sandbox: &Arc<Sandbox>, goal: Goal) -> ApiResult<()> {
    for _ in 0..limits::STEPS {
        match sandbox.advance(goal) {
            Advance::There => return Ok(()),
            Advance::Begun(state) => drive(app, sandbox, state).await?,
            Advance::Wait => drop(settled(sandbox).await?),
            Advance::No(obstacle) => return Err(obstacle.into()),
        }
    }
    Err(ApiError::new(StatusCode::CONFLICT, "others put the sandbox elsewhere again and again"))
}

/// The first step to `goal`, if nobody has used the sandbox for so long; what came of it, or `None` where it was not
/// begun.
pub(crate) async fn rest(
    app: &Arc<App>,
    sandbox: &Arc<Sandbox>,
    goal: Goal,
    idle: Duration,
) -> Option<ApiResult<()>> {
    match sandbox.advance_if_idle(goal, idle)? {
        Advance::Begun(state) => Some(drive(app, sandbox, state).await),
        Advance::There | Advance::Wait | Advance::No(_) => None,
    }
}

async fn drive(app: &Arc<App>, sandbox: &Arc<Sandbox>, state: State) -> ApiResult<()> {
    let task = tokio::spawn(drive::out_of(Arc::clone(app), Arc::clone(sandbox), state).in_current_span());
    task.await.map_err(ApiError::internal)?
}

/// A sandbox whose agent can be asked now. One that sleeps is woken first, one that is frozen is thawed.
pub(crate) async fn ready(app: &Arc<App>, sandbox: &Arc<Sandbox>) -> ApiResult<Visit> {
    for _ in 0..limits::WAKES {
        if let Some(visit) = Visit::begin(sandbox) {
            greet(app, &visit).await?;
            return Ok(visit);
        }
        reach(app, sandbox, Goal::Awake).await?;
    }
    Err(ApiError::new(StatusCode::CONFLICT, "others put the sandbox to sleep again and again"))
}

/// Asks an agent that another gateway started for its version, before anything else is said to it. One that does not
/// answer does no harm here: what it is asked next tells.
async fn greet(app: &App, visit: &Visit) -> ApiResult<()> {
    if visit.is_greeted() {
        return Ok(());
    }
    match app.agents.hello(&visit.facts.id, ids::characters::<26>()?).await {
        Err(error @ AgentError::Version(_)) => Err(exec::explain(app, visit, error)),
        Ok(()) | Err(_) => {
            visit.greeted();
            Ok(())
        }
    }
}

/// Waits until no transition is under way.
pub(crate) async fn settled(sandbox: &Sandbox) -> ApiResult<State> {
    let late =
        |_| ApiError::new(StatusCode::GATEWAY_TIMEOUT, "the sandbox is still being started or stopped");
    let settled = sandbox.until(|state| !state.is_busy());
    tokio::time::timeout(limits::TRANSITION_PATIENCE, settled).await.map_err(late)
}

/// What a client learns whose call found the agent gone.
pub(crate) fn departed(sandbox: &Sandbox, departure: Departure) -> ApiError {
    match (departure, sandbox.state()) {
        (_, State::Deleting) => Obstacle::Deleting.into(),
        (Departure::Slept, _) => {
            ApiError::new(StatusCode::CONFLICT, "the sandbox was put to sleep meanwhile")
        }
        (Departure::Died, _) => Obstacle::Killed.into(),
    }
}

impl From<Obstacle> for ApiError {
    fn from(obstacle: Obstacle) -> Self {
        let text = match obstacle {
            Obstacle::Deleting => return Self::no_sandbox(),
            Obstacle::Over(over) => return over.into(),
            Obstacle::Killed => "the sandbox was killed; its processes are gone; start launches it again",
            Obstacle::Failed => "the sandbox failed to start; start tries again",
            Obstacle::Asleep => "the sandbox is asleep: it has no processes to freeze or to thaw",
        };
        Self::new(StatusCode::CONFLICT, text)
    }
}
