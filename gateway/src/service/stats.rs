//! What a sandbox uses: asked of the runtime, which reads the host's files, never of the agent. It wakes nobody, and however
//! many ask, the runtime is asked at a bounded rate.

use super::{look, runtime_error};
use crate::app::App;
use crate::error::ApiResult;
use crate::limits;
use crate::registry::Sandbox;
use crate::runtime_client::CallError;
use bulkhead_protocol::runtime::RefusalKind;
use bulkhead_protocol::stats::Stats;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The last readings of one sandbox. Who asks meanwhile waits for the same.
#[derive(Debug, Default)]
pub(crate) struct Readings(Mutex<Option<(Instant, Stats)>>);

pub(crate) async fn read(app: &App, sandbox: &Sandbox) -> ApiResult<Stats> {
    let mut last = sandbox.readings.0.lock().await;
    if let Some((taken, stats)) = &*last
        && taken.elapsed() < limits::STATS_AGE
    {
        return Ok(stats.clone());
    }
    let _turn = look::turn(app, &sandbox.facts.org).await?;
    let stats = match app.runtime.stats(sandbox.facts.id.clone()).await {
        // It is being made, or failed to be, or its deletion has begun: it uses nothing.
        Err(CallError::Refused { kind: RefusalKind::Unknown, .. }) => Stats::default(),
        outcome => outcome.map_err(runtime_error)?,
    };
    *last = Some((Instant::now(), stats.clone()));
    Ok(stats)
}
