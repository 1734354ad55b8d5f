//! What is in force for a sandbox: asked of the runtime, which reads the kernel, never of the agent. It wakes nobody, and
//! however many ask, the runtime is asked by few at once.

use super::{life, look, runtime_error};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::registry::{Obstacle, Sandbox, State};
use crate::runtime_client::CallError;
use bulkhead_protocol::isolation::Isolation;
use bulkhead_protocol::runtime::RefusalKind;
use hyper::StatusCode;

pub(crate) async fn inspect(app: &App, sandbox: &Sandbox) -> ApiResult<Isolation> {
    running(life::settled(sandbox).await?)?;
    // Read anew for everybody: a report that is kept would say that a wall stands which has just fallen.
    let turn = look::turn(app, &sandbox.facts.org).await?;
    let inspected = app.runtime.inspect(sandbox.facts.id.clone()).await;
    drop(turn);
    match inspected {
        // It died, was put to sleep or is being deleted, and the news of that is still on its way.
        Err(CallError::Refused { kind: RefusalKind::NotRunning | RefusalKind::Unknown, .. }) => {
            let over = sandbox.until(|state| state.run().is_none());
            // Where none comes it is dead all the same: the runtime has said so.
            drop(tokio::time::timeout(limits::DEATH_NOTICE, over).await);
            Err(running(sandbox.state()).err().unwrap_or_else(|| Obstacle::Killed.into()))
        }
        outcome => outcome.map_err(runtime_error),
    }
}

/// Refuses what does not run.
fn running(state: State) -> ApiResult<()> {
    match state {
        State::Running(_) | State::Frozen(_) => Ok(()),
        State::Asleep { .. } | State::Sleeping { .. } => {
            Err(ApiError::new(StatusCode::CONFLICT, "the sandbox is asleep: nothing runs in it"))
        }
        State::Failed { .. } => Err(Obstacle::Failed.into()),
        State::Killed { .. } => Err(Obstacle::Killed.into()),
        // Deleting; the others are not settled.
        _ => Err(Obstacle::Deleting.into()),
    }
}
