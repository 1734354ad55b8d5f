//! What happens to the sandboxes, images and keys of an organisation, for whoever follows it. Each organisation has a ring
//! of its own: an event is told once, to nobody else, and the oldest give way; a reader who comes too late for some is
//! told so. Offsets only rise, also across restarts: the first of a process is the microsecond in which it began. A reader
//! is told what its key may look at; the offsets of everything else pass it by.
//!
//! Must never wait for a reader.

mod reader;
mod story;

pub(crate) use reader::Reader;
pub(crate) use story::Story;

use crate::auth::{Scope, Scopes};
use crate::limits;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The feeds by organisation.
#[derive(Debug)]
pub(crate) struct News {
    first: u64,
    feeds: RwLock<HashMap<String, Arc<Feed>>>,
}

impl Default for News {
    fn default() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let first = u64::try_from(since.as_micros()).unwrap_or_default();
        Self { first, feeds: RwLock::default() }
    }
}

impl News {
    /// The feed of an organisation.
    pub(crate) fn of(&self, org: &str) -> Arc<Feed> {
        if let Some(feed) = self.feeds.read().unwrap_or_else(PoisonError::into_inner).get(org) {
            return Arc::clone(feed);
        }
        let mut feeds = self.feeds.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(feeds.entry(org.to_owned()).or_insert_with(|| Arc::new(Feed::new(self.first))))
    }
}

/// The events of one organisation.
#[derive(Debug)]
pub(crate) struct Feed {
    ring: Mutex<Ring>,
    /// Offset behind the last event.
    end: watch::Sender<u64>,
    readers: Arc<Semaphore>,
}

#[derive(Debug)]
struct Ring {
    /// Offset of the first event that is there.
    first: u64,
    events: VecDeque<Told>,
}

/// An event, and what a key must have to be told of it.
#[derive(Debug)]
struct Told {
    scope: Scope,
    text: Arc<str>,
}

impl Ring {
    fn end(&self) -> u64 {
        self.first + u64::try_from(self.events.len()).unwrap_or_default()
    }
}

impl Feed {
    fn new(first: u64) -> Self {
        let ring = Mutex::new(Ring { first, events: VecDeque::new() });
        let readers = Arc::new(Semaphore::new(limits::NEWS_READERS));
        Self { ring, end: watch::Sender::new(first), readers }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody who follows.
    pub(crate) fn tell(&self, story: &Story<'_>) {
        let mut ring = self.lock();
        let offset = ring.end() + 1;
        ring.events.push_back(Told { scope: story.scope(), text: story.event(offset).into() });
        while ring.events.len() > limits::NEWS {
            ring.events.pop_front();
            ring.first += 1;
        }
        // Within the lock, so that it only rises.
        self.end.send_replace(offset);
    }

    /// Follows from an offset, or from now, what a key with these scopes may look at; `None` where too many do.
    pub(crate) fn follow(self: &Arc<Self>, from: Option<u64>, scopes: Scopes) -> Option<Reader> {
        let place: OwnedSemaphorePermit = Arc::clone(&self.readers).try_acquire_owned().ok()?;
        let end = self.end.subscribe();
        let from = from.unwrap_or_else(|| self.lock().end());
        Some(Reader::new(Arc::clone(self), end, from, scopes, place))
    }

    /// Whether a reader who stands here has everything.
    fn has_more(&self, at: u64) -> bool {
        self.lock().end() != at
    }

    /// Events from an offset on, up to a piece, and where the reader stands then. There may be none for it.
    fn piece(&self, at: u64, scopes: Scopes) -> (String, u64) {
        let ring = self.lock();
        let mut text = String::new();
        let mut at = at;
        // Before the first, or beyond the end: of another process, whose clock may have been ahead.
        if at < ring.first || at > ring.end() {
            text.push_str(&story::gap(at, ring.first));
            at = ring.first;
        }
        let skip = usize::try_from(at - ring.first).unwrap_or(usize::MAX);
        for event in ring.events.iter().skip(skip) {
            if text.len() >= limits::EVENT_PIECE {
                break;
            }
            if scopes.has(event.scope) {
                text.push_str(&event.text);
            }
            at += 1;
        }
        (text, at)
    }
}

#[cfg(test)]
mod tests;
