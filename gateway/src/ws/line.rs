//! A WebSocket from the end of its handshake to its own end, whatever runs over it.

use super::{Client, Farewell};
use crate::app::App;
use crate::limits;
use crate::server::{Place, closed};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::time::sleep;

/// Runs `talk` with the client of an upgrade, for as long as the key of its place holds.
pub(crate) async fn serve<F: Future<Output = ()>>(
    app: &App,
    upgrade: OnUpgrade,
    place: &Place,
    talk: impl FnOnce(Client<TokioIo<Upgraded>>) -> F,
) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            tracing::debug!(%error, "a client left during its handshake");
            return;
        }
    };
    let _open = app.metrics.socket();
    let client = Client::new(TokioIo::new(upgraded)).await;
    tokio::select! {
        () = talk(client) => {}
        // A client that is told goodbye need not answer, but its key has ended.
        () = async { place.claim().cut().await; sleep(limits::KEY_GOODBYE).await } => {}
    }
}

/// Waits until the server closes or the key of this place ends.
pub(crate) async fn end(place: &Place) -> Farewell {
    let mut closing = place.closing();
    tokio::select! {
        () = closed(&mut closing) => Farewell::CLOSING,
        () = place.claim().cut() => Farewell::REVOKED,
    }
}
