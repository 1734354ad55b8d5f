//! What the loop tells the service manager that started it (sd_notify(3)), where there is one.

use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// The service manager, and when it wants to hear from us next.
#[derive(Debug)]
pub(super) struct Manager {
    /// Half of what it waits before it takes this process for stuck; `None` where it does not wait.
    interval: Option<Duration>,
    last: Instant,
}

impl Manager {
    /// The one whose address is in the environment, or none.
    pub(super) fn of_environment() -> Self {
        Self { interval: sd_notify::watchdog_enabled().map(|patience| patience / 2), last: Instant::now() }
    }

    /// Requests are answered from now on.
    pub(super) fn ready(&self) {
        tell(&[NotifyState::Ready]);
    }

    /// The configuration is being read again; [`Self::ready`] ends that.
    pub(super) fn reloading(&self) {
        let since = NotifyState::monotonic_usec_now();
        let states = [NotifyState::Reloading].into_iter().chain(since.ok());
        tell(&states.collect::<Vec<_>>());
    }

    /// The end has begun.
    pub(super) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// How long the loop may wait before [`Self::alive`] is due.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.interval.map(|interval| interval.saturating_sub(self.last.elapsed()))
    }

    /// The loop has come round once more.
    pub(super) fn alive(&mut self) {
        if self.patience().is_some_and(|left| left.is_zero()) {
            self.last = Instant::now();
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager was not told");
    }
}
