//! Ending a sandbox: row `deleting`, and its key free again where its create failed → the runtime proves that nothing is left → row and entry are dropped.
//! Once begun it goes on until it is done, whatever the client, the runtime or the store do meanwhile.

use super::{life, runtime_error};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::failpoint::failpoint;
use crate::limits;
use crate::registry::{Event, Refusal, Sandbox};
use bulkhead_protocol::SandboxId;
use std::sync::Arc;

/// Why a sandbox goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It is wanted no more: the key that made it has made it.
    Deleted,
    /// Its create failed: the key may make another.
    CreateFailed,
}

/// Deletes the sandbox `id` of the organisation `org`.
pub(crate) async fn delete(app: &Arc<App>, org: &str, id: &SandboxId) -> ApiResult<()> {
    loop {
        let sandbox = app.registry.resolve(org, id).ok_or_else(ApiError::no_sandbox)?;
        match sandbox.apply(Event::Delete) {
            Ok(_) => {
                let app = Arc::clone(app);
                let task = tokio::spawn(async move { end(&app, &sandbox, Cause::Deleted).await });
                return task.await.map_err(ApiError::internal)?;
            }
            Err(Refusal::Busy) => drop(life::settled(&sandbox).await?),
            Err(Refusal::Deleting | Refusal::Stale) => return Err(ApiError::no_sandbox()),
        }
    }
}

/// Ends a sandbox whose state is `Deleting`. Where that fails it is tried again behind.
pub(crate) async fn end(app: &Arc<App>, sandbox: &Arc<Sandbox>, cause: Cause) -> ApiResult<()> {
    let outcome = attempt(app, sandbox, cause).await;
    if outcome.is_err() {
        tokio::spawn(insist(Arc::clone(app), Arc::clone(sandbox), cause));
    }
    outcome
}

async fn attempt(app: &App, sandbox: &Sandbox, cause: Cause) -> ApiResult<()> {
    let id = &sandbox.facts.id;
    match cause {
        Cause::Deleted => app.store.set_deleting(id.clone()).await?,
        Cause::CreateFailed => app.store.withdraw(id.clone()).await?,
    }
    failpoint!(DeleteRow);
    app.runtime.destroy(id.clone()).await.map_err(runtime_error)?;
    failpoint!(DeleteGone);
    app.store.delete_sandbox(id.clone()).await?;
    app.registry.remove(id);
    Ok(())
}

/// Tries until it succeeds. Also for what an earlier gateway left half made or half deleted.
pub(crate) async fn insist(app: Arc<App>, sandbox: Arc<Sandbox>, cause: Cause) {
    let mut pause = limits::DESTROY_FIRST;
    while let Err(error) = attempt(&app, &sandbox, cause).await {
        let id = &sandbox.facts.id;
        tracing::warn!(sandbox = %id, error = error.chain(), "a sandbox is not destroyed yet");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::DESTROY_MOST);
    }
}
