//! For whom a connection works: known once a request on it has shown a key. The connection counts for that
//! organisation, pays for its bytes, and is cut when the key ends; one place for streams, waits and WebSockets alike.

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

/// The owner of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Claim(Arc<watch::Sender<Option<Owner>>>);

impl Claim {
    pub(crate) fn nobody() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Whether the key of this principal was the last one shown.
    pub(crate) fn is_of(&self, principal: &Principal) -> bool {
        self.0.borrow().as_ref().is_some_and(|owner| owner.principal.key == principal.key)
    }

    /// From now on the connection works for this principal; `connection` is its place in the account.
    pub(crate) fn take(&self, principal: Principal, account: Arc<Account>, connection: Held) {
        self.0.send_replace(Some(Owner { principal, account, _connection: connection }));
    }

    /// Bytes were sent.
    pub(super) fn sent(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if let Some(owner) = self.0.borrow().as_ref() {
            owner.account.sent(bytes);
        }
    }

    /// How long to wait until everything is paid for that was sent for the organisation.
    pub(super) fn debt(&self) -> Duration {
        self.0.borrow().as_ref().map_or(Duration::ZERO, |owner| owner.account.debt())
    }

    /// Waits until the connection has had its time without a key; for ever where a key was shown before.
    pub(super) async fn unclaimed(&self) {
        tokio::time::sleep(limits::UNCLAIMED).await;
        if self.0.borrow().is_some() {
            std::future::pending().await
        }
    }

    /// Waits until the key for which the connection works has ended.
    pub(crate) async fn cut(&self) {
        let mut owners = self.0.subscribe();
        loop {
            let principal = owners.borrow_and_update().as_ref().map(|owner| owner.principal.clone());
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
