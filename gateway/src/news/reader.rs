//! One who follows: a cursor, and a comment now and then so that nobody takes the connection for dead.

use super::Feed;
use crate::limits;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;

/// Goes out when nothing else does.
const COMMENT: &str = ":\n\n";

/// A cursor in a feed, and its place among those that follow.
#[derive(Debug)]
pub(crate) struct Reader {
    feed: Arc<Feed>,
    end: watch::Receiver<u64>,
    at: u64,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    pub(super) fn new(
        feed: Arc<Feed>,
        end: watch::Receiver<u64>,
        at: u64,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { feed, end, at, _place: place }
    }

    /// What comes next, whenever that is.
    pub(crate) async fn next(&mut self) -> Bytes {
        while !self.feed.has_more(self.at) {
            // The sender lives in the feed, which is held here: there is no error but the time.
            if timeout(limits::EVENT_COMMENT, self.end.changed()).await.is_err() {
                return Bytes::from_static(COMMENT.as_bytes());
            }
        }
        let (text, at) = self.feed.piece(self.at);
        self.at = at;
        Bytes::from(text)
    }
}
