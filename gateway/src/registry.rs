//! All sandboxes of this gateway, in memory: an exec must not wait for a disk. Loaded from the store at
//! start, changed by one state machine (`machine`), looked at under the organisation that asks.
//!
//! Must never hold its lock across an await, and never hand out a sandbox of another organisation.

mod machine;
#[cfg(test)]
mod tests;

pub(crate) use machine::{Event, Health, Refusal, State};

use crate::limits;
use crate::sandbox::Facts;
use bulkhead_protocol::SandboxId;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// One sandbox: what never changes, and where it stands.
#[derive(Debug)]
pub(crate) struct Sandbox {
    pub(crate) facts: Facts,
    state: watch::Sender<State>,
    streams: Arc<Semaphore>,
    /// Room for input, counted in KiB.
    input: Arc<Semaphore>,
}

impl Sandbox {
    pub(crate) fn new(facts: Facts, state: State) -> Self {
        Self {
            facts,
            state: watch::Sender::new(state),
            streams: Arc::new(Semaphore::new(limits::MAX_STREAMS)),
            input: Arc::new(Semaphore::new(limits::SANDBOX_INPUT >> 10)),
        }
    }

    pub(crate) fn state(&self) -> State {
        *self.state.borrow()
    }

    /// The only way to change a state.
    pub(crate) fn apply(&self, event: Event) -> Result<State, Refusal> {
        let mut outcome = Err(Refusal::Stale);
        self.state.send_if_modified(|state| {
            outcome = state.after(event);
            if let Ok(next) = outcome {
                *state = next;
            }
            outcome.is_ok()
        });
        outcome
    }

    /// Waits until `wanted` holds.
    pub(crate) async fn until(&self, wanted: impl FnMut(&State) -> bool) -> State {
        let mut watch = self.state.subscribe();
        match watch.wait_for(wanted).await {
            Ok(state) => *state,
            // The sender lives in `self`, so this cannot be; the last state is the true answer anyway.
            Err(_) => self.state(),
        }
    }

    /// A place for one connection to the agent, or `None` when all are taken.
    pub(crate) fn stream(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.streams).try_acquire_owned().ok()
    }

    /// Room for so many bytes of input until the agent has taken them, or `None` when too much waits already.
    pub(crate) fn input(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let room = u32::try_from(bytes.div_ceil(1 << 10)).ok()?;
        Arc::clone(&self.input).try_acquire_many_owned(room).ok()
    }
}

/// No more sandboxes fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The sandboxes by id.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sandboxes: RwLock<HashMap<SandboxId, Arc<Sandbox>>>,
}

impl Registry {
    pub(crate) fn insert(&self, sandbox: Sandbox) -> Result<Arc<Sandbox>, Full> {
        let mut map = self.sandboxes.write().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= limits::MAX_SANDBOXES {
            return Err(Full);
        }
        let sandbox = Arc::new(sandbox);
        map.insert(sandbox.facts.id.clone(), Arc::clone(&sandbox));
        Ok(sandbox)
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        self.sandboxes.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// The sandbox `id`, whoever owns it: for what the runtime says, never for a client.
    pub(crate) fn any(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.sandboxes.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The sandbox `id` of the organisation `org`, unless it is being deleted.
    pub(crate) fn resolve(&self, org: &str, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.any(id).filter(|sandbox| sandbox.facts.org == org && sandbox.state() != State::Deleting)
    }

    /// Every sandbox, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        self.sandboxes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
