//! Terminals: a session is a detached execution with a terminal, found by its handle. The gateway keeps nothing
//! of it, so it outlives a restart of the gateway.

pub(crate) mod bridge;
pub(crate) mod buffer;

use super::exec::place;
use super::live::reach;
use crate::agent_client::{AgentError, Listen, Owner, Terminal};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::registry::Visit;
use bulkhead_protocol::agent::{ExecutionSpec, ExecutionStatus, Hold, Size, Stdio};
use hyper::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

const PREFIX: &str = "sess-";
/// Hexadecimal digits of a handle in a session's id.
const DIGITS: usize = 16;

/// The id of the session with this handle.
pub(crate) fn session_id(handle: u64) -> String {
    format!("{PREFIX}{handle:0DIGITS$x}")
}

/// The handle of the session with this id.
pub(crate) fn handle_of(id: &str) -> Option<u64> {
    let digits = id.strip_prefix(PREFIX)?;
    let exact = digits.len() == DIGITS && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let handle = u64::from_str_radix(digits, 16).ok().filter(|_| exact)?;
    (1..=limits::MAX_COUNT).contains(&handle).then_some(handle)
}

pub(crate) fn no_session() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "session not found")
}

/// Runs a call about one session to the agent; what the agent does not know, or has seen end, is none.
pub(crate) async fn ask<T>(
    app: &App,
    sandbox: &Visit,
    call: impl Future<Output = Result<T, AgentError>>,
) -> ApiResult<T> {
    let answer = async {
        match call.await {
            Err(AgentError::NotFound | AgentError::Conflict) => Ok(None),
            answer => answer.map(Some),
        }
    };
    reach(app, sandbox, answer).await?.ok_or_else(no_session)
}

/// The order in bytes.
pub(crate) fn encode(spec: &ExecutionSpec) -> ApiResult<Vec<u8>> {
    serde_json::to_vec(spec).map_err(ApiError::internal)
}

/// The sessions that live, in order of their start.
pub(crate) async fn list(app: &App, sandbox: &Visit) -> ApiResult<Vec<ExecutionStatus>> {
    let _place = place(sandbox)?;
    let mut list = reach(app, sandbox, app.agents.executions(&sandbox.facts.id)).await?.executions;
    list.retain(is_session);
    Ok(list)
}

fn is_session(status: &ExecutionStatus) -> bool {
    let terminal = matches!(status.stdio, Stdio::Terminal(_));
    terminal && status.hold == Hold::Detached && status.ended.is_none()
}

/// The session with this id, if it lives.
pub(crate) async fn find(app: &App, sandbox: &Visit, id: &str) -> ApiResult<ExecutionStatus> {
    let handle = handle_of(id).ok_or_else(no_session)?;
    let list = list(app, sandbox).await?;
    list.into_iter().find(|status| status.handle == handle).ok_or_else(no_session)
}

/// Starts a session; its shell runs when this returns.
pub(crate) async fn create(app: &App, sandbox: &Visit, spec: &ExecutionSpec) -> ApiResult<u64> {
    let spec = encode(spec)?;
    let _place = place(sandbox)?;
    app.metrics.executions_started.inc();
    reach(app, sandbox, app.agents.start_detached(&sandbox.facts.id, spec)).await
}

/// Ends a session; nothing of it lives when this returns.
pub(crate) async fn delete(app: &App, sandbox: &Visit, id: &str) -> ApiResult<()> {
    let session = find(app, sandbox, id).await?;
    let _place = place(sandbox)?;
    ask(app, sandbox, app.agents.kill(&sandbox.facts.id, session.handle)).await.map(drop)
}

/// Gives a session's terminal another size.
pub(crate) async fn resize(app: &App, sandbox: &Visit, id: &str, size: Size) -> ApiResult<()> {
    let session = find(app, sandbox, id).await?;
    let _place = place(sandbox)?;
    ask(app, sandbox, app.agents.resize(&sandbox.facts.id, session.handle, size)).await
}

/// Types into a session as a client of its own would that leaves at once.
pub(crate) async fn type_text(app: &App, sandbox: &Visit, id: &str, text: &str) -> ApiResult<()> {
    let session = find(app, sandbox, id).await?;
    let (_place, mut terminal) = attach(app, sandbox, session.handle, session.offset).await?;
    terminal.type_bytes(text.as_bytes());
    let typed = async {
        while terminal.is_typing() {
            terminal.event(Listen::Yes).await?;
        }
        terminal.finish().await
    };
    let typed = timeout(limits::TYPING, ask(app, sandbox, typed)).await;
    typed.unwrap_or_else(|_| Err(ApiError::new(StatusCode::CONFLICT, "the terminal takes no input now")))
}

/// Attaches to a terminal.
pub(crate) async fn attach(
    app: &App,
    sandbox: &Visit,
    handle: u64,
    from: u64,
) -> ApiResult<(OwnedSemaphorePermit, Terminal)> {
    let place = place(sandbox)?;
    let terminal = ask(app, sandbox, app.agents.terminal(&sandbox.facts.id, handle, from)).await?;
    Ok((place, terminal))
}

/// A terminal that ends with the value.
#[derive(Debug)]
pub(crate) struct Ephemeral {
    pub(crate) owner: Owner,
    pub(crate) terminal: Terminal,
    pub(crate) places: [OwnedSemaphorePermit; 2],
}

/// Starts a terminal that lives as long as what is returned.
pub(crate) async fn ephemeral(app: &App, sandbox: &Visit, spec: &ExecutionSpec) -> ApiResult<Ephemeral> {
    let (id, spec) = (&sandbox.facts.id, encode(spec)?);
    let first = place(sandbox)?;
    app.metrics.executions_started.inc();
    let started = async { Owner::new(app.agents.start_attached(id, spec).await?).await };
    let (owner, handle) = reach(app, sandbox, started).await?;
    let (second, terminal) = attach(app, sandbox, handle, 0).await?;
    Ok(Ephemeral { owner, terminal, places: [first, second] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn an_id_and_its_handle_are_one(handle in 1..=limits::MAX_COUNT) {
            let id = session_id(handle);
            prop_assert_eq!(id.len(), 21);
            prop_assert_eq!(handle_of(&id), Some(handle));
        }
    }

    #[test]
    fn other_texts_are_no_session() {
        assert_eq!(session_id(1_048_577), "sess-0000000000100001");
        for text in [
            "",
            "sess-",
            "sess-1",
            "sess-0000000000000000",
            "sess-00000000001000010",
            "sess-000000000010000A",
            "sess-+000000000100001",
            "SESS-0000000000100001",
            "0000000000100001",
            "sess-ffffffffffffffff",
        ] {
            assert_eq!(handle_of(text), None, "{text}");
        }
    }
}
