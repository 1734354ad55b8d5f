//! A thing that happens once, and that any number of tasks may wait for.

use std::cell::Cell;
use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Cell<bool>,
    waiting: Notify,
}

impl Gate {
    /// Now it has happened.
    pub(crate) fn open(&self) {
        self.open.set(true);
        self.waiting.notify_waiters();
    }

    /// Comes back when it has happened.
    pub(crate) async fn opened(&self) {
        let opened = self.waiting.notified();
        if !self.open.get() {
            opened.await;
        }
    }
}
