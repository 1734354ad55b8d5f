//! What is in force for a sandbox: asked of the runtime, which reads the kernel, never of the agent. It wakes nobody.

use super::{life, runtime_error};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::registry::{Obstacle, Sandbox, State};
use crate::runtime_client::CallError;
use bulkhead_protocol::isolation::Isolation;
use bulkhead_protocol::runtime::RefusalKind;
use hyper::StatusCode;

pub(crate) async fn inspect(app: &App, sandbox: &Sandbox) -> ApiResult<Isolation> {
    match life::settled(sandbox).await? {
        State::Running(_) | State::Frozen(_) => {}
        State::Asleep { .. } => {
            return Err(ApiError::new(StatusCode::CONFLICT, "the sandbox is asleep: nothing runs in it"));
        }
        State::Failed { .. } => return Err(Obstacle::Failed.into()),
        State::Killed { .. } => return Err(Obstacle::Killed.into()),
        // Deleting; the others are not settled.
        _ => return Err(Obstacle::Deleting.into()),
    }
    match app.runtime.inspect(sandbox.facts.id.clone()).await {
        // It died, and the news of that is still on its way.
        Err(CallError::Refused { kind: RefusalKind::NotRunning, .. }) => Err(Obstacle::Killed.into()),
        // It is being deleted.
        Err(CallError::Refused { kind: RefusalKind::Unknown, .. }) => Err(ApiError::no_sandbox()),
        outcome => outcome.map_err(runtime_error),
    }
}
