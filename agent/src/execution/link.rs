//! What joins an execution's task to those who read its output: the journal, and who waits for it.
//!
//! One thread, so cells; no borrow is held over an await.

use super::journal::{self, Item, Journal, Stream};
use bulkhead_protocol::agent::Ended;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long the program of a terminal waits for somebody who sits at it and has stopped reading. After that it goes
/// on, and who was late is told of a gap or dropped.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(crate) struct Link {
    journal: Rc<RefCell<Journal>>,
    /// By number; each wakes whoever polled that reader last.
    readers: RefCell<BTreeMap<u64, Waiting>>,
    manners: Manners,
    next_reader: Cell<u64>,
    room: Notify,
    last: RefCell<Last>,
}

#[derive(Debug)]
struct Waiting {
    wants: Wants,
    waker: Option<Waker>,
    cursor: u64,
    /// When the cursor moved last.
    moved: Instant,
    pace: Pace,
}

/// Whether a writer waits for readers of what would give way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Never: a slow reader costs the program nothing.
    GoesOn,
    /// For those who make progress, as a real terminal does: whoever prints a long file over a slow line wants to see
    /// all of it.
    Waits,
}

/// Whether a reader was waited for in vain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Keeps,
    Stopped,
}

/// What a reader is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wants {
    /// Output, then the end.
    Output,
    /// The same, as somebody who sits at a terminal.
    Screen,
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
    pub(crate) fn new(journal: Journal, manners: Manners) -> Self {
        Self {
            journal: Rc::new(RefCell::new(journal)),
            readers: RefCell::default(),
            manners,
            next_reader: Cell::new(0),
            room: Notify::new(),
            last: RefCell::new(Last::Running),
        }
    }

    /// Waits until the journal takes more bytes, and says how many; never 0.
    pub(crate) async fn room(&self) -> usize {
        loop {
            let room = self.journal.borrow().room();
            if room == 0 {
                self.room.notified().await;
                continue;
            }
            let Some(deadline) = self.patience() else { return room };
            if tokio::time::timeout_at(deadline, self.room.notified()).await.is_err() {
                self.give_up_on_the_late();
            }
        }
    }

    /// How long to wait for the readers from whom the next write would take something away; `None` when there is no
    /// such reader, or none worth waiting for.
    fn patience(&self) -> Option<Instant> {
        if self.manners == Manners::GoesOn {
            return None;
        }
        let start = self.journal.borrow().start_after_next();
        let readers = self.readers.borrow();
        readers.values().filter(|reader| reader.is_late(start)).map(|reader| reader.moved + PATIENCE).min()
    }

    fn give_up_on_the_late(&self) {
        let (start, now) = (self.journal.borrow().start_after_next(), Instant::now());
        let late = |reader: &&mut Waiting| reader.is_late(start) && reader.moved + PATIENCE <= now;
        for reader in self.readers.borrow_mut().values_mut().filter(late) {
            reader.pace = Pace::Stopped;
        }
    }

    /// Appends bytes, no more than [`Self::room`] said.
    pub(crate) fn write(&self, stream: Stream, bytes: &[u8]) {
        let taken = self.journal.borrow_mut().write(stream, bytes);
        debug_assert_eq!(taken, bytes.len(), "the pump reads no more than there is room for");
        self.wake(Wants::output);
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
        let clients = readers.values().filter(|reader| reader.wants.output()).count();
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

impl Wants {
    fn output(self) -> bool {
        matches!(self, Self::Output | Self::Screen)
    }
}

impl Waiting {
    fn is_late(&self, start: u64) -> bool {
        self.wants == Wants::Screen && self.pace == Pace::Keeps && self.cursor < start
    }
}

/// A cursor into the output of an execution.
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
        let cursor = from.min(link.end());
        let waiting = Waiting { wants, waker: None, cursor, moved: Instant::now(), pace: Pace::Keeps };
        link.readers.borrow_mut().insert(number, waiting);
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
        if self.wants.output() {
            let item = self.link.journal.borrow_mut().read(&mut self.cursor);
            if let Some(item) = item {
                if let Some(waiting) = self.link.readers.borrow_mut().get_mut(&self.number) {
                    (waiting.cursor, waiting.moved) = (self.cursor, Instant::now());
                    // One that takes a little now and then would be waited for again each time.
                    if self.cursor == self.link.end() {
                        waiting.pace = Pace::Keeps;
                    }
                }
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
        // Nobody has to be waited for any more.
        self.link.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution::journal::{Budget, Keep};
    use bulkhead_protocol::frame::MAX_PAYLOAD;

    /// Writes until the writer has to wait, at most `most` bytes; how many it wrote.
    async fn write(link: &Link, most: usize) -> usize {
        let piece = vec![b'x'; MAX_PAYLOAD];
        let mut written = 0;
        while written < most {
            let Ok(room) = tokio::time::timeout(PATIENCE / 2, link.room()).await else { break };
            let count = room.min(most - written);
            link.write(Stream::Stdout, &piece[..count]);
            written += count;
        }
        written
    }

    async fn read_all(reader: &mut Reader) -> usize {
        let mut read = 0;
        while let Ok(next) =
            tokio::time::timeout(PATIENCE / 100, std::future::poll_fn(|cx| reader.poll_next(cx))).await
        {
            match next {
                Next::Item(Item::Output(_, bytes)) => read += bytes.len(),
                other => panic!("{other:?}"),
            }
        }
        read
    }

    fn link(manners: Manners) -> Rc<Link> {
        Rc::new(Link::new(Journal::new(Keep::Newest, Rc::new(Budget::default())), manners))
    }

    #[tokio::test(start_paused = true)]
    async fn a_terminal_waits_for_a_reader_that_goes_on_and_loses_nothing() {
        let link = link(Manners::Waits);
        let mut reader = Reader::new(Rc::clone(&link), Wants::Screen, 0);
        let (mut written, mut read) = (0, 0);
        for _ in 0..5 {
            let now = write(&link, 8 << 20).await;
            assert!(now < 3 << 20, "the writer waited");
            written += now;
            read += read_all(&mut reader).await;
        }
        assert_eq!(read, written);
    }

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_without_one_that_stopped_left_or_never_came() {
        let link = link(Manners::Waits);
        let stopped = Reader::new(Rc::clone(&link), Wants::Screen, 0);
        assert!(write(&link, 8 << 20).await < 8 << 20);
        // Once for each of them, however long it stays.
        link.room().await;
        assert_eq!(write(&link, 8 << 20).await, 8 << 20);
        drop(stopped);
        assert_eq!(write(&link, 8 << 20).await, 8 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_waits_for_nobody() {
        let link = link(Manners::GoesOn);
        let _slow = Reader::new(Rc::clone(&link), Wants::Screen, 0);
        assert_eq!(write(&link, 8 << 20).await, 8 << 20);
    }
}
