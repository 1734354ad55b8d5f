//! All sandboxes of this gateway, in memory: an exec must not wait for a disk. Loaded from the store at
//! start, changed by one state machine (`machine`), looked at under the organisation that asks.
//!
//! Must never hold its lock across an await, and never hand out a sandbox of another organisation.

mod entry;
mod machine;
mod shelf;
mod standing;
#[cfg(test)]
mod tests;
mod visit;

pub(crate) use entry::{Fame, Sandbox};
pub(crate) use machine::{Birth, Event, Goal, Health, Motion, Obstacle, Refusal, Rest, Run, State};
pub(crate) use shelf::Page;
pub(crate) use standing::{Advance, Departure};
pub(crate) use visit::Visit;

use crate::limits;
use bulkhead_protocol::SandboxId;
use shelf::Shelf;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// No more sandboxes fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// The sandboxes by id, and by organisation.
#[derive(Debug, Default)]
pub(crate) struct Registry(RwLock<Rooms>);

#[derive(Debug, Default)]
struct Rooms {
    sandboxes: HashMap<SandboxId, Arc<Sandbox>>,
    /// None of them is empty.
    shelves: HashMap<String, Shelf>,
}

impl Registry {
    fn read(&self) -> RwLockReadGuard<'_, Rooms> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Rooms> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn insert(&self, sandbox: Sandbox) -> Result<Arc<Sandbox>, Full> {
        let mut rooms = self.write();
        if rooms.sandboxes.len() >= limits::MAX_SANDBOXES {
            return Err(Full);
        }
        let sandbox = Arc::new(sandbox);
        rooms.shelves.entry(sandbox.facts.org.clone()).or_default().add(Arc::clone(&sandbox));
        rooms.sandboxes.insert(sandbox.facts.id.clone(), Arc::clone(&sandbox));
        Ok(sandbox)
    }

    pub(crate) fn remove(&self, id: &SandboxId) {
        let mut rooms = self.write();
        let Some(sandbox) = rooms.sandboxes.remove(id) else { return };
        let org = &sandbox.facts.org;
        if let Some(shelf) = rooms.shelves.get_mut(org) {
            shelf.remove(&sandbox);
            if shelf.is_empty() {
                rooms.shelves.remove(org);
            }
        }
        // Within the lock, so that nobody counts it who does not find it.
        sandbox.release();
    }

    pub(crate) fn len(&self) -> usize {
        self.read().sandboxes.len()
    }

    /// The sandbox `id`, whoever owns it: for what the runtime says, never for a client.
    pub(crate) fn any(&self, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.read().sandboxes.get(id).cloned()
    }

    /// The sandbox `id` of the organisation `org`, unless it is being deleted.
    pub(crate) fn resolve(&self, org: &str, id: &SandboxId) -> Option<Arc<Sandbox>> {
        self.any(id).filter(|sandbox| sandbox.facts.org == org && sandbox.state() != State::Deleting)
    }

    /// The rows in `span` of the list of `org`: what has all `labels`, newest first.
    pub(crate) fn page(&self, org: &str, span: Range<usize>, labels: &[(String, String)]) -> Page {
        self.read().shelves.get(org).map(|shelf| shelf.page(span, labels)).unwrap_or_default()
    }

    /// Every sandbox, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Sandbox>> {
        self.read().sandboxes.values().cloned().collect()
    }
}
