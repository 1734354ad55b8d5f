//! Executions that go on by themselves: starting, listing, ending, input. One short call to the agent each.

use super::exec::{Job, place};
use super::live::reach;
use crate::agent_client::AgentError;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::registry::Visit;
use bulkhead_protocol::agent::{ExecutionStatus, Hold, Killed, MAX_EXECUTIONS, Stdio};
use bytes::Bytes;
use hyper::StatusCode;

/// What comes after the input that is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    MoreInput,
    EndOfInput,
}

/// Starts `job`, which is detached; gives its handle.
pub(crate) async fn start(app: &App, sandbox: &Visit, job: Job) -> ApiResult<u64> {
    let _place = place(sandbox)?;
    app.metrics.executions_started.inc();
    reach(app, sandbox, app.agents.start_detached(&sandbox.facts.id, job.spec)).await
}

/// Commands that run now: neither terminals nor what belongs to another request.
pub(crate) async fn running(app: &App, sandbox: &Visit) -> ApiResult<Vec<ExecutionStatus>> {
    let _place = place(sandbox)?;
    let mut list = reach(app, sandbox, app.agents.executions(&sandbox.facts.id)).await?.executions;
    list.retain(|status| {
        status.hold == Hold::Detached && matches!(status.stdio, Stdio::Pipes(_)) && status.ended.is_none()
    });
    list.truncate(MAX_EXECUTIONS);
    Ok(list)
}

/// Ends everything that belongs to a command; when this returns nothing of it lives.
pub(crate) async fn kill(app: &App, sandbox: &Visit, handle: u64) -> ApiResult<Killed> {
    let _place = place(sandbox)?;
    reach(app, sandbox, app.agents.kill(&sandbox.facts.id, handle)).await
}

/// Sends a signal to all processes of a command.
pub(crate) async fn signal(app: &App, sandbox: &Visit, handle: u64, signal: u8) -> ApiResult<()> {
    let _place = place(sandbox)?;
    reach(app, sandbox, app.agents.signal(&sandbox.facts.id, handle, signal)).await
}

/// Gives a command input; says how many bytes it took.
pub(crate) async fn input(
    app: &App,
    sandbox: &Visit,
    handle: u64,
    (bytes, then): (Bytes, Then),
) -> ApiResult<u64> {
    let most = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    let _place = place(sandbox)?;
    let _room = sandbox.input(bytes.len()).ok_or_else(|| {
        let text = "too much input waits to be read by this sandbox's commands";
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).of_limit("input of a sandbox")
    })?;
    let query = match then {
        Then::MoreInput => "",
        Then::EndOfInput => "?close",
    };
    let call = async {
        match app.agents.stdin(&sandbox.facts.id, handle, query, bytes).await {
            Ok(taken) => Ok(Some(taken.bytes.min(most))),
            // Not the agent's fault: the program does not read.
            Err(AgentError::Late(_)) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let late = || ApiError::new(StatusCode::GATEWAY_TIMEOUT, "the command did not take its input in time");
    reach(app, sandbox, call).await?.ok_or_else(late)
}
