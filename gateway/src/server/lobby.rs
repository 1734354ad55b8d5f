//! Where a connection waits until somebody shows a key on it. There is room for so many; one more sends the oldest away,
//! since whoever has a key shows it at once: so nobody who only waits keeps those out who have one.

use crate::limits::MAX_UNCLAIMED;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Those that wait.
#[derive(Debug, Default)]
pub(super) struct Lobby(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    next: u64,
    /// By the order in which they came.
    seats: BTreeMap<u64, Arc<Notify>>,
}

/// One that waits, until dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    lobby: Arc<Lobby>,
    number: u64,
    sent_away: Arc<Notify>,
}

impl Lobby {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends the oldest away until there is room for one more; says how many went.
    pub(super) fn make_room(&self) -> u64 {
        let mut waiting = self.lock();
        let mut gone = 0;
        while waiting.seats.len() >= MAX_UNCLAIMED {
            let Some((_, sent_away)) = waiting.seats.pop_first() else { break };
            sent_away.notify_one();
            gone += 1;
        }
        gone
    }

    /// One more waits.
    pub(super) fn enter(self: &Arc<Self>) -> Seat {
        let sent_away = Arc::<Notify>::default();
        let mut waiting = self.lock();
        let number = waiting.next;
        waiting.next += 1;
        waiting.seats.insert(number, Arc::clone(&sent_away));
        Seat { lobby: Arc::clone(self), number, sent_away }
    }
}

impl Seat {
    /// Is told when the seat is another's.
    pub(super) fn sent_away(&self) -> Arc<Notify> {
        Arc::clone(&self.sent_away)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.lobby.lock().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_goes_and_who_has_left_counts_no_more() {
        let lobby = Arc::<Lobby>::default();
        let mut seats: Vec<Seat> = (0..MAX_UNCLAIMED).map(|_| lobby.enter()).collect();
        drop(seats.remove(1));
        assert_eq!(lobby.make_room(), 0, "one has left");
        seats.push(lobby.enter());
        assert_eq!(lobby.make_room(), 1);
        seats[0].sent_away().notified().await;
        seats.push(lobby.enter());
        assert_eq!(lobby.lock().seats.len(), MAX_UNCLAIMED);
        drop(seats);
        assert_eq!(lobby.lock().seats.len(), 0);
    }
}
