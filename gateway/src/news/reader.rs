//! One who follows: a cursor, and a comment now and then so that nobody takes the connection for dead.

use super::Feed;
use crate::auth::Scopes;
use crate::limits;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, timeout_at};

/// Goes out when nothing else does.
const COMMENT: &str = ":\n\n";

/// A cursor in a feed, and its place among those that follow.
#[derive(Debug)]
pub(crate) struct Reader {
    feed: Arc<Feed>,
    end: watch::Receiver<u64>,
    at: u64,
    scopes: Scopes,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    pub(super) fn new(
        feed: Arc<Feed>,
        end: watch::Receiver<u64>,
        at: u64,
        scopes: Scopes,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { feed, end, at, scopes, _place: place }
    }

    /// What comes next, whenever that is.
    pub(crate) async fn next(&mut self) -> Bytes {
        // Of all that it waits for here: what others are told of is no sign of life.
        let due = Instant::now() + limits::EVENT_COMMENT;
        loop {
            let (text, at) = self.feed.piece(self.at, self.scopes);
            self.at = at;
            if !text.is_empty() {
                return Bytes::from(text);
            }
            // The sender lives in the feed, which is held here: there is no error but the time.
            while !self.feed.has_more(self.at) {
                if timeout_at(due, self.end.changed()).await.is_err() {
                    return Bytes::from_static(COMMENT.as_bytes());
                }
            }
        }
    }
}
