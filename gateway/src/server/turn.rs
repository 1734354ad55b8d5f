//! Whether somebody on a connection still waits for an answer. A closing gateway gives it: whoever was accepted cannot
//! know that nobody would read on, and hyper closes a connection at once on which nothing was read.

use crate::limits;
use std::sync::Arc;
use tokio::sync::watch;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The client has connected, or has spoken since the last answer.
    Awaited,
    /// A request was taken: its answer comes, however the connection is closed.
    Taken,
    /// An answer has begun, and nothing else came since.
    Answered,
}

/// The stage of one connection.
#[derive(Debug, Clone)]
pub(super) struct Turn(Arc<watch::Sender<Stage>>);

impl Turn {
    /// Of a connection that was just accepted.
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Stage::Awaited)))
    }

    /// Bytes came. Those of a body belong to a request that was taken.
    pub(super) fn heard(&self) {
        self.change(Stage::Answered, Stage::Awaited);
    }

    /// A whole head came.
    pub(super) fn taken(&self) {
        self.0.send_replace(Stage::Taken);
    }

    /// Bytes went.
    pub(super) fn said(&self) {
        self.change(Stage::Taken, Stage::Answered);
    }

    fn change(&self, from: Stage, to: Stage) {
        // Most calls change nothing: they share the lock.
        if *self.0.borrow() != from {
            return;
        }
        self.0.send_if_modified(|stage| {
            let changes = *stage == from;
            if changes {
                *stage = to;
            }
            changes
        });
    }

    /// Waits until the connection may be told to end: at once where nobody waits for an answer that has not been
    /// asked for yet, else when it is, or when it is not within [`limits::FIRST_REQUEST`].
    pub(super) async fn over(&self) {
        let mut stages = self.0.subscribe();
        let over = stages.wait_for(|stage| *stage != Stage::Awaited);
        // Late, or (the sender lives in `self`) a change: both end the wait.
        drop(tokio::time::timeout(limits::FIRST_REQUEST, over).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::Instant;

    async fn wait(turn: &Turn) -> Duration {
        let start = Instant::now();
        turn.over().await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_an_answer_is_waited_for() {
        let turn = Turn::new();
        assert_eq!(wait(&turn).await, limits::FIRST_REQUEST, "accepted");
        turn.taken();
        turn.heard();
        assert_eq!(wait(&turn).await, Duration::ZERO, "a body comes");
        turn.said();
        assert_eq!(wait(&turn).await, Duration::ZERO, "answered");
        turn.heard();
        assert_eq!(wait(&turn).await, limits::FIRST_REQUEST, "the next head has begun");
    }
}
