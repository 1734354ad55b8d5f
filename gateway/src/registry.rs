//! All sandboxes of this gateway, in memory: an exec must not wait for a disk. Loaded from the store at
//! start, changed by one state machine (`machine`), looked at under the organisation that asks.
//!
//! Must never hold its lock across an await, and never hand out a sandbox of another organisation.

mod entry;
mod machine;
mod standing;
#[cfg(test)]
mod tests;
mod visit;

pub(crate) use entry::{Fame, Sandbox};
pub(crate) use machine::{Birth, Event, Goal, Health, Motion, Obstacle, Refusal, Rest, Run, State};
pub(crate) use standing::{Advance, Departure};
pub(crate) use visit::Visit;

use crate::limits;
use bulkhead_protocol::SandboxId;
use std::collections::{HashMap, hash_map};
use std::sync::{Arc, PoisonError, RwLock};

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
        let removed = self.sandboxes.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(sandbox) = removed {
            sandbox.release();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.sandboxes.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The sandbox `id`, whoever owns it: for what the runtime says, never for a client.
    pub(crate) fn any(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.sandboxes.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The sandbox `id` of the organisation `org`, unless it is being deleted.
    pub(crate) fn resolve(&self, org: &str, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.any(id).filter(|sandbox| sandbox.facts.org == org && sandbox.state() != State::Deleting)
    }

    /// What `look` makes of every sandbox, in no order; nothing is added or removed meanwhile.
    pub(crate) fn look<T>(&self, look: impl FnOnce(hash_map::Values<'_, SandboxId, Arc<Sandbox>>) -> T) -> T {
        look(self.sandboxes.read().unwrap_or_else(PoisonError::into_inner).values())
    }

    /// Every sandbox, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        self.sandboxes.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
