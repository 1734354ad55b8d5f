//! What the gateway tells the service manager that started it (sd_notify(3)), where there is one.

use crate::app::App;
use crate::error::chain;
use sd_notify::NotifyState;
use std::convert::Infallible;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::{Arc, OnceLock};

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
    let Some(socket) = SOCKET.get_or_init(open) else { return };
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    if let Err(error) = socket.send(text.as_bytes()) {
        tracing::warn!(%error, "the service manager was not told");
    }
}

/// Held open: clients may have taken every descriptor, and a process that waits for them to go is not stuck.
static SOCKET: OnceLock<Option<UnixDatagram>> = OnceLock::new();

/// Connects to the manager whose address is in the environment, a path or after `@` a name.
fn open() -> Option<UnixDatagram> {
    let address = std::env::var_os("NOTIFY_SOCKET")?;
    let connected = UnixDatagram::unbound().and_then(|socket| {
        match address.as_bytes().strip_prefix(b"@") {
            Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            None => socket.connect(&address)?,
        }
        Ok(socket)
    });
    connected.inspect_err(|error| tracing::warn!(%error, "the service manager cannot be told")).ok()
}
