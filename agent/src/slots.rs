//! Counted places: how everything that a peer can cause gets its limit.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of places.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    limit: usize,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub(crate) struct Slot(#[allow(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Slots {
    /// That many places, all free.
    pub(crate) fn new(limit: usize) -> Self {
        Self { free: Arc::new(Semaphore::new(limit)), limit }
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Slot> {
        Arc::clone(&self.free).try_acquire_owned().ok().map(Slot)
    }

    /// A place, once one is free and everybody who asked before has theirs. None after `patience`.
    pub(crate) async fn wait(&self, patience: Duration) -> Option<Slot> {
        let place = Arc::clone(&self.free).acquire_owned();
        tokio::time::timeout(patience, place).await.ok()?.ok().map(Slot)
    }

    /// How many are taken.
    pub(crate) fn taken(&self) -> usize {
        self.limit - self.free.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_it_is_dropped() {
        let slots = Slots::new(2);
        let (first, second) = (slots.take(), slots.take());
        assert!(first.is_some() && second.is_some() && slots.take().is_none());
        drop(first);
        assert!(slots.take().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_gets_the_next_free_place_or_none() {
        let slots = Slots::new(1);
        let first = slots.take();
        assert!(slots.wait(Duration::from_secs(1)).await.is_none());
        let waiting = tokio::spawn({
            let slots = slots.clone();
            async move { slots.wait(Duration::from_secs(1)).await.is_some() }
        });
        tokio::task::yield_now().await;
        drop(first);
        assert!(waiting.await.unwrap());
        assert_eq!(slots.taken(), 0);
    }
}
