//! Where connections come from: the socket that the launch made. In a sandbox of namespaces it is a unix socket; in a
//! virtual machine one of AF_VSOCK (vsock(7)). Only how a connection is accepted differs.

use crate::watch::watch;
use bulkhead_sys::fd;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getsockname};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::UnixStream;

/// A source of connections.
pub(crate) trait Listener {
    /// One connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// The next one. Dropping the future loses none.
    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>>;
}

/// A listening stream socket.
#[derive(Debug)]
pub(crate) enum Listening {
    /// By its path on the host.
    Unix(tokio::net::UnixListener),
    /// By the number of a machine and a port.
    Vsock(AsyncFd<OwnedFd>),
}

impl Listening {
    /// Takes over a socket, which does not block from now on. Must run within the runtime.
    ///
    /// # Errors
    /// `InvalidInput` for one of another family.
    pub(crate) fn on(socket: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&socket, FcntlArg::F_GETFL)?);
        fcntl(&socket, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
        match address.family() {
            Some(AddressFamily::Unix) => {
                tokio::net::UnixListener::from_std(UnixListener::from(socket)).map(Self::Unix)
            }
            Some(AddressFamily::Vsock) => watch(socket, Interest::READABLE).map(Self::Vsock),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

impl Listener for Listening {
    /// What is done with a connection is the same for both families: reading, writing, shutting down, and handing it on.
    /// The type of the standard library does just that, and looks at no address.
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        match self {
            Self::Unix(listener) => listener.accept().await.map(|(stream, _address)| stream),
            Self::Vsock(listener) => {
                let next = |socket: &OwnedFd| match fd::accept(socket) {
                    Ok(connection) => connection.ok_or(io::ErrorKind::WouldBlock.into()),
                    Err(error) => Err(error.errno.into()),
                };
                UnixStream::from_std(listener.async_io(Interest::READABLE, next).await?.into())
            }
        }
    }
}
