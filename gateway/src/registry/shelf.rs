//! The sandboxes of one organisation in the order of a list, and how many of them a list has. A page costs what is on
//! it and before it, however many come after: among thousands most of them are in no cache of the processor.

use super::Sandbox;
use bulkhead_protocol::SandboxId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One organisation's.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    /// By the moment; of one moment in the order of their ids, so that pages do not overlap.
    rows: BTreeMap<(i64, SandboxId), Arc<Sandbox>>,
    tally: Arc<Tally>,
}

/// How many of the sandboxes a list has.
#[derive(Debug, Default)]
pub(super) struct Tally(AtomicUsize);

/// One of them, until dropped.
#[derive(Debug)]
pub(super) struct Listed(Arc<Tally>);

/// Rows of a list, and how many there are in all.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Arc<Sandbox>>,
    pub(crate) total: usize,
}

impl Tally {
    pub(super) fn take(tally: &Arc<Self>) -> Listed {
        // The number alone is shared: whoever reads it holds the lock of the registry for the rest.
        tally.0.fetch_add(1, Ordering::Relaxed);
        Listed(Arc::clone(tally))
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shelf {
    pub(super) fn add(&mut self, sandbox: Arc<Sandbox>) {
        sandbox.belong(Arc::clone(&self.tally));
        self.rows.insert(place(&sandbox), sandbox);
    }

    pub(super) fn remove(&mut self, sandbox: &Sandbox) {
        self.rows.remove(&place(sandbox));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The rows in `span`, newest first, of those that a list has and that have all `labels`.
    pub(super) fn page(&self, span: Range<usize>, labels: &[(String, String)]) -> Page {
        let mut listed = self.rows.values().rev().filter(|sandbox| fits(sandbox, labels));
        let mut rows: Vec<_> = listed.by_ref().take(span.end).collect();
        let seen = rows.len();
        let total = if seen < span.end {
            seen
        } else if labels.is_empty() {
            // A row that came or went meanwhile may be seen and not counted.
            self.tally.0.load(Ordering::Relaxed).max(seen)
        } else {
            seen + listed.count()
        };
        let rows = rows.drain(span.start.min(seen)..).map(Arc::clone).collect();
        Page { rows, total }
    }
}

fn place(sandbox: &Sandbox) -> (i64, SandboxId) {
    (sandbox.facts.created_us, sandbox.facts.id.clone())
}

fn fits(sandbox: &Sandbox, labels: &[(String, String)]) -> bool {
    let has = &sandbox.facts.settings.labels;
    sandbox.state().is_listed() && labels.iter().all(|(key, value)| has.get(key) == Some(value))
}
