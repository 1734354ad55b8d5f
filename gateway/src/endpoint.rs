//! Addresses that were taken before this process gave up its rights and its network.

use crate::error::Error;
use crate::limits;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Instant;
use tokio::net::{TcpListener, TcpSocket};

/// Bytes that the kernel takes from us for one client before the client's side has room for them, in all. Left to
/// itself it takes up to 4 MiB for each client that has stopped reading; what is on its way does not count.
const UNSENT: u32 = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A socket that has its address.
#[derive(Debug)]
pub struct Endpoint {
    address: SocketAddr,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    /// Does not listen yet: nobody waits in a queue while the gateway starts.
    Bound(TcpSocket),
    /// Was made by a service manager, which keeps it while the gateway is restarted: clients wait meanwhile.
    Inherited(std::net::TcpListener),
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
                Ok(socket) => return Ok(Self { address, socket: Socket::Bound(socket) }),
                Err(source) if Instant::now() >= end || source.kind() != std::io::ErrorKind::AddrInUse => {
                    return Err(Error::Listen { address, source });
                }
                Err(error) => tracing::debug!(%error, "the port is taken"),
            }
            std::thread::sleep(limits::START_PAUSE);
        }
    }

    /// A listening socket that was inherited.
    ///
    /// # Errors
    /// [`Error::Inherited`] where it is none of TCP.
    pub fn inherited(descriptor: OwnedFd) -> Result<Self, Error> {
        let prepared = || {
            let socket = socket2::Socket::from(descriptor);
            if !socket.is_listener()? || socket.r#type()? != socket2::Type::STREAM {
                return Err(std::io::ErrorKind::InvalidInput.into());
            }
            socket.set_nonblocking(true)?;
            socket.set_tcp_notsent_lowat(UNSENT)?;
            let listener = std::net::TcpListener::from(socket);
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) = prepared().map_err(Error::Inherited)?;
        Ok(Self { address, socket: Socket::Inherited(listener) })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn listen(self) -> Result<TcpListener, Error> {
        let address = self.address;
        let listening = match self.socket {
            Socket::Bound(socket) => socket.listen(BACKLOG),
            Socket::Inherited(listener) => TcpListener::from_std(listener),
        };
        listening.map_err(|source| Error::Listen { address, source })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listening_socket_is_taken_over() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(Endpoint::inherited(listener.into()).unwrap().address(), address);
        assert!(matches!(Endpoint::inherited(client.into()), Err(Error::Inherited(_))));
    }
}
