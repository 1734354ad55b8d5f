//! For whom a connection works: known once a request on it has shown a key. The connection counts for that
//! organisation, pays for its bytes, and is cut when the key ends; one place for streams, waits and WebSockets alike.

use super::lobby::Seat;
use crate::auth::Principal;
use crate::limits;
use crate::quota::{Account, Held};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Who showed a key last.
#[derive(Debug)]
struct Owner {
    principal: Principal,
    account: Arc<Account>,
    _connection: Held,
}

/// Whose a connection is.
#[derive(Debug)]
enum Standing {
    /// Nobody has shown a key; a listener that bounds those gives it a seat.
    Guest(Option<Seat>),
    Owned(Owner),
}

impl Standing {
    fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Guest(_) => None,
            Self::Owned(owner) => Some(owner),
        }
    }
}

/// The owner of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Claim(Arc<watch::Sender<Standing>>);

impl Claim {
    /// Of a connection that counts nowhere.
    pub(crate) fn nobody() -> Self {
        Self(Arc::new(watch::Sender::new(Standing::Guest(None))))
    }

    /// Of one that holds a seat until somebody shows a key.
    pub(super) fn guest(seat: Seat) -> Self {
        Self(Arc::new(watch::Sender::new(Standing::Guest(Some(seat)))))
    }

    /// Whether the key of this principal was the last one shown.
    pub(crate) fn is_of(&self, principal: &Principal) -> bool {
        self.0.borrow().owner().is_some_and(|owner| owner.principal.key == principal.key)
    }

    /// From now on the connection works for this principal; `connection` is its place in the account.
    pub(crate) fn take(&self, principal: Principal, account: Arc<Account>, connection: Held) {
        self.0.send_replace(Standing::Owned(Owner { principal, account, _connection: connection }));
    }

    /// Bytes were sent.
    pub(super) fn sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(owner) = self.0.borrow().owner() {
            owner.account.sent(bytes);
        }
    }

    /// How long to wait until everything is paid for that was sent for the organisation.
    pub(super) fn debt(&self) -> Duration {
        self.0.borrow().owner().map_or(Duration::ZERO, |owner| owner.account.debt())
    }

    /// Waits until the connection has had its time without a key; for ever where a key was shown before.
    pub(super) async fn unclaimed(&self) {
        tokio::time::sleep(limits::UNCLAIMED).await;
        self.unless_owned().await;
    }

    /// Waits until the connection has to give way to others on which nobody has shown a key either.
    pub(super) async fn sent_away(&self) {
        let seat = match &*self.0.borrow() {
            Standing::Guest(Some(seat)) => Some(seat.sent_away()),
            Standing::Guest(None) | Standing::Owned(_) => None,
        };
        match seat {
            Some(seat) => seat.notified().await,
            None => std::future::pending().await,
        }
        self.unless_owned().await;
    }

    /// For ever where a key was shown.
    async fn unless_owned(&self) {
        if self.0.borrow().owner().is_some() {
            std::future::pending().await
        }
    }

    /// Waits until the key for which the connection works has ended.
    pub(crate) async fn cut(&self) {
        let mut owners = self.0.subscribe();
        loop {
            let principal = owners.borrow_and_update().owner().map(|owner| owner.principal.clone());
            let ended = async {
                match &principal {
                    Some(principal) => principal.ended().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = ended => return,
                // The sender lives in `self`, so this is a change.
                _ = owners.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{Instant, timeout};

    #[tokio::test(start_paused = true)]
    async fn who_shows_no_key_has_so_long() {
        let start = Instant::now();
        assert!(timeout(2 * limits::UNCLAIMED, Claim::nobody().unclaimed()).await.is_ok());
        assert!(start.elapsed() >= limits::UNCLAIMED);
    }
}
