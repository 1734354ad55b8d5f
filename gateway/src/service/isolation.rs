//! What is in force for a sandbox: asked of the runtime, which reads the kernel, never of the agent.

use super::{exec, runtime_error};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::registry::Sandbox;
use crate::runtime_client::CallError;
use bulkhead_protocol::isolation::Isolation;
use bulkhead_protocol::runtime::RefusalKind;
use hyper::StatusCode;

pub(crate) async fn inspect(app: &App, sandbox: &Sandbox) -> ApiResult<Isolation> {
    exec::ready(sandbox).await?;
    match app.runtime.inspect(sandbox.facts.id.clone()).await {
        // It died, and the news of that is still on its way.
        Err(CallError::Refused { kind: RefusalKind::NotRunning, .. }) => {
            Err(ApiError::new(StatusCode::CONFLICT, "the sandbox was killed; its processes are gone"))
        }
        // It is being deleted.
        Err(CallError::Refused { kind: RefusalKind::Unknown, .. }) => Err(ApiError::no_sandbox()),
        outcome => outcome.map_err(runtime_error),
    }
}
