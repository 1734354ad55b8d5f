//! The socket of the host's administrator: organisations and keys. It answers the host's root and nobody
//! else, by what the kernel says of the peer.

pub mod client;
mod handler;
mod wire;

pub use wire::{Ceiling, KeyInfo, KeyOrder, Leak, NO_CEILING, NewKey, Org, OrgInfo, QuotaChange};

use crate::app::App;
use crate::dirs::Directory;
use crate::error::Error;
use crate::server::{self, Claim, Closing};
use handler::Admin;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// The socket's name in `<run-dir>/gateway/`.
const SOCKET: &str = "admin.sock";
/// Connections of administrators at once.
const CONNECTIONS: usize = 16;

/// Makes the socket, in place of one that an earlier gateway left.
pub(crate) fn bind(dir: &Path) -> Result<UnixListener, Error> {
    // The directory is held until both calls are made.
    let held = Directory::open(dir)?;
    let short = held.entry(SOCKET);
    match std::fs::remove_file(&short) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::file("remove the old socket", dir.join(SOCKET), error));
        }
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(&short).map_err(|error| Error::file("make the socket", dir.join(SOCKET), error))
}

/// Accepts until the process closes.
pub(crate) async fn accept(app: Arc<App>, listener: UnixListener, mut closing: Closing) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = server::closed(&mut closing) => return,
        };
        match accepted {
            Ok((stream, _)) if is_root(&stream) => {
                let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                let (closing, admin) = (closing.clone(), Admin::new(Arc::clone(&app)));
                tokio::spawn(async move {
                    server::serve(stream, closing, Claim::nobody(), admin).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::debug!("somebody who is not root came to the admin socket"),
            Err(error) => server::pause(&error).await,
        }
    }
}

fn is_root(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0)
}
