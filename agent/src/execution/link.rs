//! What joins an execution's task to the body that carries its output: the journal, and who waits for it.
//!
//! One thread, so cells; no borrow is held over an await.

use super::journal::{Item, Journal, Stream};
use bulkhead_protocol::agent::Ended;
use std::cell::RefCell;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    journal: RefCell<Journal>,
    reader: RefCell<Option<Waker>>,
    room: Notify,
    last: RefCell<Last>,
}

/// Whether anything follows what the journal holds.
#[derive(Debug)]
enum Last {
    Running,
    Ended(Ended),
    Over,
}

/// What the reader gets next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Output, or its absence.
    Item(Item),
    /// The execution is over.
    Ended(Ended),
    /// Nothing more, and nobody knows how it ended.
    Nothing,
}

impl Link {
    /// A link over an empty journal.
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal: RefCell::new(journal),
            reader: RefCell::default(),
            room: Notify::new(),
            last: RefCell::new(Last::Running),
        }
    }

    /// Waits until the journal takes more bytes, and says how many; never 0.
    pub(crate) async fn room(&self) -> usize {
        loop {
            let room = self.journal.borrow().room();
            if room > 0 {
                return room;
            }
            self.room.notified().await;
        }
    }

    /// Appends bytes, no more than [`Self::room`] said.
    pub(crate) fn write(&self, stream: Stream, bytes: &[u8]) {
        let taken = self.journal.borrow_mut().write(stream, bytes);
        debug_assert_eq!(taken, bytes.len(), "the pump reads no more than there is room for");
        self.wake_reader();
    }

    /// Nothing is written any more; this is how it ended.
    pub(crate) fn finish(&self, ended: Ended) {
        self.last.replace(Last::Ended(ended));
        self.wake_reader();
    }

    /// Nothing is written any more, and no end is known.
    pub(crate) fn break_off(&self) {
        self.last.replace(Last::Over);
        self.wake_reader();
    }

    /// Ready when a reader that has read nothing would get something.
    pub(crate) fn poll_news(&self, cx: &Context<'_>) -> Poll<()> {
        let running = matches!(*self.last.borrow(), Last::Running);
        if !running || self.journal.borrow().end() > 0 {
            return Poll::Ready(());
        }
        self.reader.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// What follows `cursor`.
    pub(crate) fn poll_next(&self, cursor: &mut u64, cx: &mut Context<'_>) -> Poll<Next> {
        let item = self.journal.borrow_mut().read(cursor);
        if let Some(item) = item {
            self.room.notify_one();
            return Poll::Ready(Next::Item(item));
        }
        match self.last.replace(Last::Over) {
            Last::Running => {
                self.last.replace(Last::Running);
                self.reader.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
            Last::Ended(ended) => Poll::Ready(Next::Ended(ended)),
            Last::Over => Poll::Ready(Next::Nothing),
        }
    }

    fn wake_reader(&self) {
        let waker = self.reader.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
