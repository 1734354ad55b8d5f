//! The bytes that the journals of a sandbox share beyond their guarantees: a part of the memory that the sandbox
//! was given on top of its tenant's.
//!
//! One thread, so cells. A journal that ended is borrowed here only to forget records, never while it is in use:
//! its readers hold no borrow over a call of another journal.

use super::{Journal, SPARE};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

/// See the module.
#[derive(Debug)]
pub(crate) struct Budget {
    /// Lent to nobody.
    pub(super) spare: Cell<usize>,
    /// Lent to journals that ended.
    reclaimable: Cell<usize>,
    /// Those journals, oldest end first.
    finished: RefCell<VecDeque<Weak<RefCell<Journal>>>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { spare: Cell::new(SPARE), reclaimable: Cell::new(0), finished: RefCell::default() }
    }
}

impl Budget {
    /// What a journal that is written can still borrow.
    pub(super) fn obtainable(&self) -> usize {
        self.spare.get() + self.reclaimable.get()
    }

    /// Lends bytes, no more than [`Self::obtainable`]; journals that ended forget as much as that takes.
    pub(super) fn lend(&self, bytes: usize) {
        while self.spare.get() < bytes && self.reclaim_oldest() {}
        debug_assert!(self.spare.get() >= bytes, "room was asked for first");
        self.spare.set(self.spare.get().saturating_sub(bytes));
    }

    /// Gets bytes back.
    pub(super) fn take_back(&self, bytes: usize) {
        self.spare.set(self.spare.get() + bytes);
    }

    /// What this journal holds, all of it lent, can be reclaimed.
    pub(super) fn enter_finished(&self, journal: &Rc<RefCell<Journal>>) {
        self.reclaimable.set(self.reclaimable.get() + journal.borrow().held);
        let mut finished = self.finished.borrow_mut();
        finished.retain(|journal| journal.strong_count() > 0);
        finished.push_back(Rc::downgrade(journal));
    }

    /// A journal that ended gives back so many bytes.
    pub(super) fn leave_finished(&self, bytes: usize) {
        self.reclaimable.set(self.reclaimable.get() - bytes);
    }

    /// Forgets one record of the journal that ended first; `false` when there is nothing to forget.
    fn reclaim_oldest(&self) -> bool {
        loop {
            let oldest = self.finished.borrow().front().map(Weak::upgrade);
            let Some(journal) = oldest else { return false };
            if let Some(journal) = journal {
                let mut journal = journal.borrow_mut();
                let held = journal.held;
                if journal.forget_oldest() {
                    self.leave_finished(held - journal.held);
                    return true;
                }
            }
            self.finished.borrow_mut().pop_front();
        }
    }
}
