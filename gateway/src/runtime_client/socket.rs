//! A seqpacket unix socket for tokio, which has none: one `send` is one packet, whole or not at all. It
//! travels as a `UnixStream`, which brings the readiness; every transfer is our own `send(2)` or `recv(2)`,
//! so that a packet's end is never lost.

use bulkhead_protocol::runtime::MAX_PACKET;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg, socket,
};
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use tokio::io::Interest;
use tokio::net::UnixStream;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    fd: UnixStream,
}

impl Socket {
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)?;
        // A unix socket connects at once or fails at once, also when it does not block.
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self { fd: UnixStream::from_std(fd.into())? })
    }

    /// Sends a packet, and with it copies of these descriptors.
    pub(super) async fn send(&self, packet: &[u8], descriptors: &[OwnedFd]) -> io::Result<()> {
        let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        // A control message without a descriptor would be malformed.
        let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
        let bytes = [IoSlice::new(packet)];
        let (fd, flags) = (self.fd.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
        let once = || Ok(sendmsg::<()>(fd, &bytes, control, flags, None)?);
        self.fd.async_io(Interest::WRITABLE, once).await.map(drop)
    }

    /// The next packet's bytes in `buffer`; `None` when the peer has closed.
    pub(super) async fn receive<'a>(&self, buffer: &'a mut [u8; MAX_PACKET]) -> io::Result<Option<&'a [u8]>> {
        // MSG_TRUNC gives the packet's true length, so that a longer one is noticed.
        let once = || Ok(recv(self.fd.as_raw_fd(), &mut buffer[..], MsgFlags::MSG_TRUNC)?);
        let length = self.fd.async_io(Interest::READABLE, once).await?;
        match buffer.get(..length) {
            Some([]) => Ok(None),
            Some(packet) => Ok(Some(packet)),
            None => Err(io::Error::new(io::ErrorKind::InvalidData, "a packet is longer than allowed")),
        }
    }
}
