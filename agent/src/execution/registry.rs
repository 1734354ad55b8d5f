//! The executions that can be asked about: those that run, and detached ones for a while after their end.

use super::entry::Entry;
use bulkhead_protocol::agent::{Executions, MAX_JSON, RETAINED_ENDS, RETAINED_SECONDS};
use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How long an end is kept.
const RETAINED: Duration = Duration::from_secs(RETAINED_SECONDS);
/// Bytes of each script that a list shows, tried in order until the list fits: a script of control characters
/// takes six times its length as JSON.
const LISTED: [usize; 4] = [bulkhead_protocol::agent::LISTED_SCRIPT, 1024, 256, 0];

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    entries: RefCell<BTreeMap<u64, Rc<Entry>>>,
    /// When and which, oldest end first.
    ended: RefCell<VecDeque<(Instant, u64)>>,
}

impl Registry {
    /// Can be found from here on.
    pub(crate) fn insert(&self, entry: Rc<Entry>) {
        self.entries.borrow_mut().insert(entry.handle, entry);
    }

    /// By its handle.
    pub(crate) fn find(&self, handle: u64) -> Option<Rc<Entry>> {
        self.entries.borrow().get(&handle).cloned()
    }

    /// By its idempotency key.
    pub(crate) fn find_key(&self, key: &str) -> Option<Rc<Entry>> {
        let has_key = |entry: &&Rc<Entry>| entry.about().key.as_ref().is_some_and(|own| own.key == key);
        self.entries.borrow().values().find(has_key).cloned()
    }

    /// JSON of all of them, no longer than [`MAX_JSON`].
    pub(crate) fn list(&self) -> Vec<u8> {
        let entries = self.entries.borrow();
        let list = |bytes: usize| {
            let executions = entries.values().map(|entry| entry.status(bytes)).collect();
            serde_json::to_vec(&Executions { executions }).expect("a list is JSON")
        };
        let fitting = LISTED.into_iter().map(list).find(|text| text.len() <= MAX_JSON);
        fitting.unwrap_or_else(|| list(0))
    }

    /// It ended: a detached one is kept for a while, any other one is forgotten.
    pub(crate) fn ended(self: &Rc<Self>, entry: &Entry) {
        if !entry.about().is_detached() {
            self.forget(entry.handle);
            return;
        }
        let mut ended = self.ended.borrow_mut();
        let first = ended.is_empty();
        ended.push_back((Instant::now(), entry.handle));
        if ended.len() > RETAINED_ENDS
            && let Some((_, oldest)) = ended.pop_front()
        {
            self.forget(oldest);
        }
        if first {
            tokio::task::spawn_local(Rc::clone(self).forget_old_ones());
        }
    }

    /// Nothing can be asked about it any more.
    pub(crate) fn forget(&self, handle: u64) {
        let forgotten = self.entries.borrow_mut().remove(&handle);
        // After the borrow: it may hold the last reference to a lot.
        drop(forgotten);
    }

    /// Runs while there is an end to forget.
    async fn forget_old_ones(self: Rc<Self>) {
        loop {
            let oldest = self.ended.borrow().front().copied();
            let Some((at, handle)) = oldest else { return };
            tokio::time::sleep_until(at + RETAINED).await;
            let mut ended = self.ended.borrow_mut();
            // The count may have pushed it out meanwhile.
            if ended.front() == Some(&(at, handle)) {
                ended.pop_front();
                self.forget(handle);
            }
        }
    }
}
