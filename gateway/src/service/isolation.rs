//! What is in force for a sandbox: asked of the runtime, which reads the kernel, never of the agent. It wakes nobody, and
//! however many ask, the runtime is asked at a bounded rate.

use super::{life, look, runtime_error};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::registry::{Obstacle, Sandbox, State};
use crate::runtime_client::CallError;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::isolation::Isolation;
use bulkhead_protocol::runtime::RefusalKind;
use hyper::StatusCode;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Which launch of which sandbox.
type Of = (SandboxId, u32);

/// The last reports. A launch whose report is here a moment later has one that was read a moment ago.
#[derive(Debug, Default)]
pub(crate) struct Reports(Mutex<VecDeque<(Instant, Of, Arc<Isolation>)>>);

impl Reports {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Instant, Of, Arc<Isolation>)>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The oldest are the first.
        while all.front().is_some_and(|(taken, ..)| taken.elapsed() >= limits::STATS_AGE) {
            all.pop_front();
        }
        all
    }

    fn recent(&self, of: &Of) -> Option<Arc<Isolation>> {
        self.lock().iter().rev().find(|(_, other, _)| other == of).map(|(.., report)| Arc::clone(report))
    }

    fn keep(&self, of: Of, report: &Arc<Isolation>) {
        let mut all = self.lock();
        if all.len() >= limits::REPORTS {
            all.pop_front();
        }
        all.push_back((Instant::now(), of, Arc::clone(report)));
    }
}

pub(crate) async fn inspect(app: &App, sandbox: &Sandbox) -> ApiResult<Arc<Isolation>> {
    running(life::settled(sandbox).await?)?;
    let turn = look::turn(app, &sandbox.facts.org).await?;
    // Who waited may find that another one has asked, or that it stopped meanwhile.
    let state = sandbox.state();
    let id = &sandbox.facts.id;
    let of = state.run().map(|run| (id.clone(), run.launch));
    if let Some(report) = of.as_ref().and_then(|of| app.reports.recent(of)) {
        return Ok(report);
    }
    match app.runtime.inspect(id.clone()).await {
        // It died, was put to sleep or is being deleted, and the news of that is still on its way.
        Err(CallError::Refused { kind: RefusalKind::NotRunning | RefusalKind::Unknown, .. }) => {
            drop(turn);
            let over = sandbox.until(|state| state.run().is_none());
            // Where none comes it is dead all the same: the runtime has said so.
            drop(tokio::time::timeout(limits::DEATH_NOTICE, over).await);
            Err(running(sandbox.state()).err().unwrap_or_else(|| Obstacle::Killed.into()))
        }
        outcome => {
            let report = Arc::new(outcome.map_err(runtime_error)?);
            // Of the launch that was there before and after: no other one can have been read.
            if let Some(of) = of.filter(|of| sandbox.state().run().is_some_and(|run| run.launch == of.1)) {
                app.reports.keep(of, &report);
            }
            Ok(report)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_report_is_of_one_launch_and_for_a_moment() {
        let reports = Reports::default();
        let of = |letter: &str, launch| (SandboxId::parse(&letter.repeat(30)).unwrap(), launch);
        let report = Arc::new(Isolation { items: Vec::new(), modules: Vec::new() });
        reports.keep(of("a", 1), &report);
        assert!(reports.recent(&of("a", 1)).is_some());
        assert!(reports.recent(&of("a", 2)).is_none() && reports.recent(&of("b", 1)).is_none());
        tokio::time::advance(limits::STATS_AGE).await;
        assert!(reports.recent(&of("a", 1)).is_none());
        for launch in 0..200 {
            reports.keep(of("a", launch), &report);
        }
        assert_eq!(reports.lock().len(), limits::REPORTS);
        assert!(reports.recent(&of("a", 199)).is_some());
    }
}
