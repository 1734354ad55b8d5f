//! One launch: its organisation's turn → order to the runtime → the agent's hello → row `running`. The same for a new sandbox and one that is woken.
//! What to do when it fails is the caller's.

use super::runtime_error;
use crate::agent_client::AgentError;
use crate::app::App;
use crate::error::{ApiError, ApiResult, chain};
use crate::failpoint::failpoint;
use crate::ids;
use crate::registry::{Event, Sandbox, State};
use crate::store::Status;
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::{CreateSandbox, Disk, MAX_HOSTNAME};
use hyper::StatusCode;
use std::time::Instant;

/// Makes the launch with this number.
pub(super) async fn launch(app: &App, sandbox: &Sandbox, launch: u32, disk: Disk) -> ApiResult<()> {
    let facts = &sandbox.facts;
    let spec = CreateSandbox {
        id: facts.id.clone(),
        launch,
        disk,
        image: facts.settings.made_of.id.clone(),
        named: ImageName::parse(&facts.image).map_err(ApiError::internal)?,
        limits: facts.settings.limits,
        hostname: hostname(&facts.name),
    };
    let mut lap = Lap::start(app);
    let turn = app.fair.turn(&facts.org).await?;
    lap.end("turn");
    if app.runtime.create(spec).await.map_err(runtime_error)? != launch {
        return Err(ApiError::internal("the runtime made another launch"));
    }
    drop(turn);
    lap.end("runtime");
    app.agents.hello(&facts.id, ids::characters::<26>()?).await.map_err(agent_error)?;
    lap.end("hello");
    failpoint!(LaunchAnswered);
    app.store.set_status(facts.id.clone(), Status::Running, launch).await?;
    failpoint!(LaunchRow);
    lap.end("row");
    born(app, sandbox, launch).await
}

/// Measures one step after the other.
struct Lap<'a> {
    app: &'a App,
    since: Instant,
}

impl<'a> Lap<'a> {
    fn start(app: &'a App) -> Self {
        Self { app, since: Instant::now() }
    }

    fn end(&mut self, step: &'static str) {
        self.app.metrics.launch_step(step, self.since.elapsed());
        self.since = Instant::now();
    }
}

/// The end of a launch: it runs, unless the news of its death have come already.
pub(super) async fn born(app: &App, sandbox: &Sandbox, launch: u32) -> ApiResult<()> {
    sandbox.greet(launch);
    let outcome = sandbox.apply(Event::Launched { launch });
    if let Ok(State::Running(_)) = outcome {
        return Ok(());
    }
    tracing::debug!(sandbox = %sandbox.facts.id, launch, ?outcome, "dead before it was ready");
    // A first launch that died has failed, and whoever made it writes that down.
    if outcome.is_ok()
        && let Err(error) = app.store.set_status(sandbox.facts.id.clone(), Status::Killed, launch).await
    {
        tracing::error!(sandbox = %sandbox.facts.id, error = chain(&error), "a death was not noted");
    }
    Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the sandbox died while it was started"))
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
        | AgentError::Stranger
        | AgentError::Version(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the sandbox did not start"),
    };
    ApiError::new(status, text).because(error)
}

/// A host name of what fits of the sandbox's name.
pub(super) fn hostname(name: &str) -> String {
    name.get(..MAX_HOSTNAME.min(name.len())).unwrap_or("sandbox").trim_end_matches(['-', '.']).to_owned()
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
