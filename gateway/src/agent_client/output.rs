//! What an execution wrote, within a budget: a stream is kept whole up to a bound, beyond it its two ends,
//! and what was cut is counted. All streams share one budget, beside a small share that each has for itself,
//! so that a neighbour's output can shorten another's but never take all of it.

use super::{AgentError, Frames, Item, Source};
use crate::limits::{MAX_COUNT, OUTPUT_BUDGET, OUTPUT_END, OUTPUT_WHOLE, PIECE};
use bulkhead_protocol::agent::{Ended, Gap};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that all executions may hold together, counted in pieces.
#[derive(Debug, Clone)]
pub(crate) struct Budget(Arc<Semaphore>);

impl Default for Budget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(OUTPUT_BUDGET / PIECE)))
    }
}

/// Both streams of one execution.
#[derive(Debug)]
pub(crate) struct Collected {
    pub(crate) started: bool,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

impl Collected {
    pub(crate) fn new(budget: &Budget) -> Self {
        Self { started: false, stdout: Output::new(budget.clone()), stderr: Output::new(budget.clone()) }
    }

    /// Takes the items that are there.
    pub(super) fn take(&mut self, frames: &mut Frames) -> Result<Option<Ended>, AgentError> {
        while let Some(item) = frames.next()? {
            match item {
                Item::KeepAlive => {}
                Item::Started(_) => self.started = true,
                Item::Output(Source::Stdout, bytes) => self.stdout.push(bytes),
                Item::Output(Source::Stderr, bytes) => self.stderr.push(bytes),
                Item::Gap(gap) => self.gap(gap),
                Item::Ended(ended) => return frames.nothing_follows().map(|()| Some(ended)),
            }
        }
        Ok(None)
    }

    /// Notes bytes that the agent no longer had. It does not say of which stream; they are counted as stdout.
    fn gap(&mut self, gap: Gap) {
        let lost = gap.to.saturating_sub(gap.from);
        self.stdout.cut = self.stdout.cut.saturating_add(lost).min(MAX_COUNT);
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Output {
    budget: Budget,
    reserved: Vec<OwnedSemaphorePermit>,
    head: Vec<u8>,
    /// The last bytes, once the stream is longer than is kept whole.
    tail: Option<VecDeque<u8>>,
    cut: u64,
}

impl Output {
    fn new(budget: Budget) -> Self {
        Self { budget, reserved: Vec::new(), head: Vec::new(), tail: None, cut: 0 }
    }

    /// Bytes that were written and are not here.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if let Some(tail) = &mut self.tail {
            self.cut = push_tail(tail, bytes, self.cut);
            return;
        }
        let room = self.room(bytes.len());
        let (fits, rest) = bytes.split_at(room);
        self.head.extend_from_slice(fits);
        if rest.is_empty() {
            return;
        }
        if self.head.len() == OUTPUT_WHOLE {
            let mut tail = VecDeque::from(self.head.split_off(OUTPUT_END));
            self.head.shrink_to_fit();
            self.cut = push_tail(&mut tail, rest, self.cut);
            self.tail = Some(tail);
        } else {
            // The shared budget is used up: the beginning stays.
            self.cut = add(self.cut, rest.len());
        }
    }

    /// How many of `wanted` further bytes may be kept whole; reserves what that takes.
    fn room(&mut self, wanted: usize) -> usize {
        let wanted = wanted.min(OUTPUT_WHOLE - self.head.len());
        while self.head.len() + wanted > PIECE * (1 + self.reserved.len()) {
            match Arc::clone(&self.budget.0).try_acquire_owned() {
                Ok(permit) => self.reserved.push(permit),
                Err(_) => break,
            }
        }
        wanted.min(PIECE * (1 + self.reserved.len()) - self.head.len())
    }

    /// Everything that is kept, and what holds its place in the budget.
    pub(crate) fn into_parts(mut self) -> (Vec<u8>, Vec<OwnedSemaphorePermit>) {
        if let Some(tail) = self.tail {
            let (front, back) = tail.as_slices();
            self.head.extend_from_slice(front);
            self.head.extend_from_slice(back);
        }
        (self.head, self.reserved)
    }
}

fn add(cut: u64, bytes: usize) -> u64 {
    cut.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX)).min(MAX_COUNT)
}

fn push_tail(tail: &mut VecDeque<u8>, bytes: &[u8], cut: u64) -> u64 {
    let over = (tail.len() + bytes.len()).saturating_sub(OUTPUT_END);
    let from_tail = over.min(tail.len());
    drop(tail.drain(..from_tail));
    tail.extend(&bytes[over - from_tail..]);
    add(cut, over)
}
