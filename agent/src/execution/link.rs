//! What joins an execution's task to those who read its output: the journal, and who waits for it.
//!
//! One thread, so cells; no borrow is held over an await.

use super::journal::{self, Item, Journal, Stream};
use bulkhead_protocol::agent::Ended;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    journal: Rc<RefCell<Journal>>,
    /// By number; each wakes whoever polled that reader last.
    readers: RefCell<BTreeMap<u64, Waiting>>,
    next_reader: Cell<u64>,
    room: Notify,
    last: RefCell<Last>,
}

#[derive(Debug)]
struct Waiting {
    wants: Wants,
    waker: Option<Waker>,
}

/// What a reader is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Output, then the end.
    Output,
    /// The end alone.
    End,
}

/// Whether anything follows what the journal holds.
#[derive(Debug)]
enum Last {
    Running,
    Ended(Ended),
    Unknown,
}

/// What a reader gets next.
#[derive(Debug)]
pub(crate) enum Next {
    /// Output, or its absence.
    Item(Item),
    /// The execution is over; comes again when it is asked for again.
    Ended(Ended),
    /// Nothing more, and nobody knows how it ended.
    Nothing,
}

impl Link {
    /// A link over an empty journal.
    pub(crate) fn new(journal: Journal) -> Self {
        Self {
            journal: Rc::new(RefCell::new(journal)),
            readers: RefCell::default(),
            next_reader: Cell::new(0),
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
        self.wake(|wants| wants == Wants::Output);
    }

    /// Nothing is written any more; this is how it ended.
    pub(crate) fn finish(&self, ended: Ended) {
        self.close(Last::Ended(ended));
    }

    /// Nothing is written any more, and no end is known.
    pub(crate) fn break_off(&self) {
        self.close(Last::Unknown);
    }

    fn close(&self, last: Last) {
        journal::finish(&self.journal);
        self.last.replace(last);
        self.wake(|_| true);
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        match &*self.last.borrow() {
            Last::Ended(ended) => Some(ended.clone()),
            Last::Running | Last::Unknown => None,
        }
    }

    /// Whether output may still come.
    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.last.borrow(), Last::Running)
    }

    /// Offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.journal.borrow().end()
    }

    /// Readers of output that are there now.
    pub(crate) fn clients(&self) -> u32 {
        let readers = self.readers.borrow();
        let clients = readers.values().filter(|reader| reader.wants == Wants::Output).count();
        u32::try_from(clients).unwrap_or(u32::MAX)
    }

    fn wake(&self, concerned: impl Fn(Wants) -> bool) {
        for reader in self.readers.borrow_mut().values_mut().filter(|reader| concerned(reader.wants)) {
            // Only schedules a task; nothing of ours runs within.
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }
}

/// A cursor into the output of an execution. Costs the others nothing, however slow it is.
#[derive(Debug)]
pub(crate) struct Reader {
    link: Rc<Link>,
    number: u64,
    wants: Wants,
    cursor: u64,
}

impl Reader {
    /// A reader of what follows offset `from`; one beyond the end is the end.
    pub(crate) fn new(link: Rc<Link>, wants: Wants, from: u64) -> Self {
        let number = link.next_reader.replace(link.next_reader.get() + 1);
        link.readers.borrow_mut().insert(number, Waiting { wants, waker: None });
        let cursor = from.min(link.end());
        Self { link, number, wants, cursor }
    }

    /// Ready when there is news: anything written at all, or the end.
    pub(crate) fn poll_news(&self, cx: &Context<'_>) -> Poll<()> {
        if !self.link.is_running() || self.link.end() > 0 {
            return Poll::Ready(());
        }
        self.wait(cx)
    }

    /// What follows the cursor, which moves behind it.
    pub(crate) fn poll_next(&mut self, cx: &Context<'_>) -> Poll<Next> {
        if self.wants == Wants::Output {
            let item = self.link.journal.borrow_mut().read(&mut self.cursor);
            if let Some(item) = item {
                self.link.room.notify_one();
                return Poll::Ready(Next::Item(item));
            }
        }
        match &*self.link.last.borrow() {
            Last::Running => {}
            Last::Ended(ended) => return Poll::Ready(Next::Ended(ended.clone())),
            Last::Unknown => return Poll::Ready(Next::Nothing),
        }
        self.wait(cx)
    }

    fn wait<T>(&self, cx: &Context<'_>) -> Poll<T> {
        if let Some(waiting) = self.link.readers.borrow_mut().get_mut(&self.number) {
            waiting.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.link.readers.borrow_mut().remove(&self.number);
    }
}
