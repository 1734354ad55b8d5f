//! Who asks, and how long that holds: whoever goes on for a key after its request was answered waits for its end.

use super::scope::{Scope, Scopes};
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::store::now_us;
use hyper::StatusCode;
use std::time::Duration;
use tokio::sync::watch;

/// Whether a key may still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Validity {
    Good,
    Over,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Principal {
    pub(crate) org: String,
    pub(crate) user: String,
    /// The id of the key.
    pub(crate) key: String,
    pub(crate) scopes: Scopes,
    /// When the key ends by itself, in microseconds since 1970.
    pub(crate) expires_us: Option<i64>,
    pub(super) validity: watch::Receiver<Validity>,
}

impl Principal {
    /// Refuses with 403 where the key lacks a scope.
    pub(crate) fn require(&self, scope: Scope) -> ApiResult<()> {
        if self.scopes.has(scope) {
            return Ok(());
        }
        let text = format!("this key lacks the scope {}", scope.word());
        Err(ApiError::new(StatusCode::FORBIDDEN, text))
    }

    /// Waits until the key is revoked, deactivated or deleted, or expires, and a moment longer: the request that
    /// ends its own key is answered.
    pub(crate) async fn ended(&self) {
        let mut validity = self.validity.clone();
        let over = async {
            // An error means that the key is gone.
            drop(validity.wait_for(|validity| *validity == Validity::Over).await);
        };
        tokio::select! {
            () = over => {}
            () = expired(self.expires_us) => {}
        }
        tokio::time::sleep(limits::KEY_GRACE).await;
    }
}

/// Waits for a moment of the wall clock, which may jump.
async fn expired(end: Option<i64>) {
    let Some(end) = end else { return std::future::pending().await };
    loop {
        let left = u64::try_from(end - now_us()).unwrap_or(0);
        if left == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_micros(left).min(limits::KEY_LOOK)).await;
    }
}
