//! What the gateway tells the service manager that started it (sd_notify(3)), where there is one.

use crate::app::App;
use crate::error::chain;
use sd_notify::NotifyState;
use std::convert::Infallible;
use std::sync::Arc;

/// Clients are answered from now on.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends that. The moment is for managers with `Type=notify-reload`.
pub(crate) fn reloading() {
    let since = NotifyState::monotonic_usec_now();
    let states = [NotifyState::Reloading].into_iter().chain(since.ok());
    tell(&states.collect::<Vec<_>>());
}

/// Requests under way are finished, and no others taken.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Says for ever that this process is not stuck, as long as its store answers. That a runtime is away is no reason to be
/// restarted.
pub(super) async fn alive(app: Arc<App>) -> Infallible {
    let Some(patience) = sd_notify::watchdog_enabled() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(patience / 2);
    loop {
        ticks.tick().await;
        match app.store.check().await {
            Ok(()) => tell(&[NotifyState::Watchdog]),
            Err(error) => tracing::error!(error = chain(&error), "the store does not answer"),
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager was not told");
    }
}
