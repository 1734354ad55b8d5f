//! What an execution wrote: records under one offset that counts the payload bytes of both streams.
//!
//! Readers hold cursors. Nothing is ever lost silently: either the writer waits for the reader
//! ([`Keep::UntilRead`]), or the oldest bytes give way and a reader that is too late gets an explicit
//! [`Item::Gap`] ([`Keep::Newest`]), so that it never slows the writer or another reader.
//!
//! All journals of a sandbox share one [`Budget`]: a journal must never hold more than its guarantee plus what the
//! budget lent it. A [finished](finish) one has no guarantee any more, and gives way to those that are written.

mod budget;

pub(crate) use budget::Budget;

use bulkhead_protocol::agent::{Gap, MAX_EXECUTIONS};
use bulkhead_protocol::frame::MAX_PAYLOAD;
use bytes::Bytes;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

/// Bytes that all journals of a sandbox may hold.
const SANDBOX_BYTES: usize = 8 << 20;
/// Bytes that a journal may hold while it is written, whatever the others do: one frame's worth.
const GUARANTEED: usize = MAX_PAYLOAD + WRITE_COST;
/// Longest record. What a connection has taken but not sent is whole records that the budget does not count any
/// more, so they are short: 160 connections hold two each.
const MAX_RECORD: usize = 32 << 10;
/// Bytes that a record costs beside its payload, so that many small writes are bounded too.
const RECORD_COST: usize = 128;
/// Most that one write costs beside its payload.
const WRITE_COST: usize = MAX_PAYLOAD / MAX_RECORD * RECORD_COST;
/// What is left for those who need more than their guarantee.
const SPARE: usize = SANDBOX_BYTES - MAX_EXECUTIONS * GUARANTEED;
const _: () = assert!(MAX_EXECUTIONS * GUARANTEED < SANDBOX_BYTES, "every guarantee can be kept at once");

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happens when more is written than may be held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The writer waits. Has one reader; what it read is let go.
    UntilRead,
    /// The oldest bytes give way. Has any number of readers.
    Newest,
}

impl Keep {
    /// Most bytes that one journal holds, while the budget has room.
    fn limit(self) -> usize {
        match self {
            // Enough to keep a fast reader busy; more would only be latency.
            Keep::UntilRead => 256 << 10,
            Keep::Newest => 2 << 20,
        }
    }
}

#[derive(Debug)]
struct Record {
    from: u64,
    stream: Stream,
    bytes: Bytes,
}

impl Record {
    fn to(&self) -> u64 {
        self.from + length(&self.bytes)
    }

    fn cost(&self) -> usize {
        self.bytes.len() + RECORD_COST
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What a reader gets next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    /// Bytes of one stream, at most [`MAX_RECORD`].
    Output(Stream, Bytes),
    /// Bytes that are no longer there.
    Gap(Gap),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Journal {
    keep: Keep,
    records: VecDeque<Record>,
    /// Offset behind the last byte.
    end: u64,
    /// Cost of all records.
    held: usize,
    /// How much of that the budget lent.
    borrowed: usize,
    /// [`GUARANTEED`] until the end.
    guaranteed: usize,
    budget: Rc<Budget>,
}

impl Journal {
    /// An empty journal.
    pub(crate) fn new(keep: Keep, budget: Rc<Budget>) -> Self {
        Self { keep, records: VecDeque::new(), end: 0, held: 0, borrowed: 0, guaranteed: GUARANTEED, budget }
    }

    /// Offset behind the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Payload bytes that [`Self::write`] would take now; at most a frame's worth.
    pub(crate) fn room(&self) -> usize {
        match self.keep {
            Keep::UntilRead => self.free().saturating_sub(WRITE_COST).min(MAX_PAYLOAD),
            Keep::Newest => MAX_PAYLOAD,
        }
    }

    /// Appends the first bytes of `bytes`, and says how many: no more than [`Self::room`].
    #[must_use = "the bytes that found no room would be lost"]
    pub(crate) fn write(&mut self, stream: Stream, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        if taken == 0 {
            return 0;
        }
        while self.keep == Keep::Newest && self.free() < taken + WRITE_COST && self.forget_oldest() {}
        for piece in bytes[..taken].chunks(MAX_RECORD) {
            let record = Record { from: self.end, stream, bytes: Bytes::copy_from_slice(piece) };
            self.end = record.to();
            self.hold(self.held + record.cost());
            self.records.push_back(record);
        }
        taken
    }

    /// The oldest offset that is still there once the next frame's worth was written.
    pub(crate) fn start_after_next(&self) -> u64 {
        let mut excess = (MAX_PAYLOAD + WRITE_COST).saturating_sub(self.free());
        for record in &self.records {
            if excess == 0 {
                return record.from;
            }
            excess = excess.saturating_sub(record.cost());
        }
        self.end
    }

    /// What follows `cursor`, which moves behind it; `None` when nothing does yet.
    pub(crate) fn read(&mut self, cursor: &mut u64) -> Option<Item> {
        let start = self.records.front().map_or(self.end, |record| record.from);
        if *cursor < start {
            let gap = Gap { from: *cursor, to: start };
            *cursor = start;
            return Some(Item::Gap(gap));
        }
        let at = self.records.partition_point(|record| record.to() <= *cursor);
        let record = self.records.get(at)?;
        let skip = usize::try_from(*cursor - record.from).unwrap_or(usize::MAX);
        let item = Item::Output(record.stream, record.bytes.slice(skip.min(record.bytes.len())..));
        *cursor = record.to();
        if self.keep == Keep::UntilRead {
            while self.records.front().is_some_and(|record| record.to() <= *cursor) && self.forget_oldest() {}
        }
        Some(item)
    }

    /// How much more may be held now.
    fn free(&self) -> usize {
        let allowed = (self.guaranteed + self.borrowed + self.budget.obtainable()).min(self.keep.limit());
        allowed.saturating_sub(self.held)
    }

    fn forget_oldest(&mut self) -> bool {
        let Some(record) = self.records.pop_front() else { return false };
        self.hold(self.held - record.cost());
        true
    }

    /// Settles with the budget.
    fn hold(&mut self, held: usize) {
        let borrowed = held.saturating_sub(self.guaranteed);
        if borrowed > self.borrowed {
            self.budget.lend(borrowed - self.borrowed);
        } else {
            self.budget.take_back(self.borrowed - borrowed);
        }
        (self.held, self.borrowed) = (held, borrowed);
    }
}

/// Nothing is written any more. From here on every byte is borrowed: what the budget cannot lend even at the cost
/// of journals that ended before is forgotten, and the rest gives way when it is needed. One that loses nothing
/// keeps what it has until it was read.
pub(crate) fn finish(journal: &Rc<RefCell<Journal>>) {
    let mut ended = journal.borrow_mut();
    if ended.keep == Keep::UntilRead {
        return;
    }
    let budget = Rc::clone(&ended.budget);
    while ended.held - ended.borrowed > budget.obtainable() && ended.forget_oldest() {}
    ended.guaranteed = 0;
    let held = ended.held;
    ended.hold(held);
    drop(ended);
    budget.enter_finished(journal);
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.guaranteed == 0 {
            self.budget.leave_finished(self.held);
        }
        self.hold(0);
    }
}

#[cfg(test)]
mod tests;
