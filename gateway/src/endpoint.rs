//! Addresses that were taken before this process gave up its rights and its network.

use crate::error::Error;
use crate::limits;
use std::net::SocketAddr;
use std::time::Instant;
use tokio::net::{TcpListener, TcpSocket};

/// Bytes that the kernel takes from us for one client before the client's side has room for them, in all. Left to
/// itself it takes up to 4 MiB for each client that has stopped reading; what is on its way does not count.
const UNSENT: u32 = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A socket that has its address and does not listen yet: nobody waits in a queue while the gateway starts.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    socket: TcpSocket,
}

impl Endpoint {
    /// Takes an address in the network namespace of the caller, waiting for a gateway that is still closing.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub fn bind(address: SocketAddr) -> Result<Self, Error> {
        let end = Instant::now() + limits::START_PATIENCE;
        loop {
            match socket(address) {
                Ok(socket) => return Ok(Self { address, socket }),
                Err(source) if Instant::now() >= end || source.kind() != std::io::ErrorKind::AddrInUse => {
                    return Err(Error::Listen { address, source });
                }
                Err(error) => tracing::debug!(%error, "the port is taken"),
            }
            std::thread::sleep(limits::START_PAUSE);
        }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn listen(self) -> Result<TcpListener, Error> {
        let address = self.address;
        self.socket.listen(BACKLOG).map_err(|source| Error::Listen { address, source })
    }
}

fn socket(address: SocketAddr) -> std::io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    // Inherited by every connection.
    socket2::SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT)?;
    Ok(socket)
}
