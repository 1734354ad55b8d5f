//! Packets of a unix socket that carry descriptors (`SCM_RIGHTS`, unix(7)).

use crate::error::{Context, Result};
use nix::cmsg_space;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Descriptors of one packet; the kernel closes what is beyond.
pub const MAX_RIGHTS: usize = 4;

/// One packet.
#[derive(Debug)]
pub struct Packet {
    /// Its length, which is more than what was asked for when it was cut.
    pub length: usize,
    /// The descriptors that it carried, all close-on-exec.
    pub rights: Vec<OwnedFd>,
}

/// The next packet, without waiting; `length` 0 when the peer is gone.
///
/// # Errors
/// As recvmsg(2), `EAGAIN` when there is none.
pub fn receive(socket: &impl AsFd, buffer: &mut [u8]) -> Result<Packet> {
    let mut parts = [IoSliceMut::new(buffer)];
    let mut control = cmsg_space!([RawFd; MAX_RIGHTS]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC | MsgFlags::MSG_CMSG_CLOEXEC;
    let number = socket.as_fd().as_raw_fd();
    let message =
        recvmsg::<()>(number, &mut parts, Some(&mut control), flags).during("recvmsg", String::new)?;
    let mut rights = Vec::new();
    for part in message.cmsgs().during("recvmsg", || "control messages".into())? {
        if let ControlMessageOwned::ScmRights(numbers) = part {
            // SAFETY: from_raw_fd needs an open descriptor that nobody else owns. The kernel has just made these for
            // this packet, and their numbers are known here alone.
            rights.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Ok(Packet { length: message.bytes, rights })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    use nix::sys::socket::{AddressFamily, ControlMessage, SockFlag, SockType, sendmsg, socketpair};
    use std::io::{IoSlice, Read, Seek};

    #[test]
    fn descriptors_arrive_with_their_packet_and_end_with_an_exec() {
        let (near, far) =
            socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let file = crate::fd::sealed_program(c"told", b"told").unwrap();
        let numbers = [file.as_raw_fd(), file.as_raw_fd()];
        let rights = [ControlMessage::ScmRights(&numbers)];
        sendmsg::<()>(near.as_raw_fd(), &[IoSlice::new(b"hello")], &rights, MsgFlags::empty(), None).unwrap();
        sendmsg::<()>(near.as_raw_fd(), &[IoSlice::new(b"alone")], &[], MsgFlags::empty(), None).unwrap();
        let mut buffer = [0; 4];
        let first = receive(&far, &mut buffer).unwrap();
        assert_eq!((first.length, first.rights.len(), &buffer), (5, 2, b"hell"));
        for right in first.rights {
            assert_eq!(fcntl(&right, FcntlArg::F_GETFD).unwrap(), FdFlag::FD_CLOEXEC.bits());
            let mut text = String::new();
            let mut copy = std::fs::File::from(right);
            copy.rewind().unwrap();
            copy.read_to_string(&mut text).unwrap();
            assert_eq!(text, "told");
        }
        assert!(receive(&far, &mut buffer).unwrap().rights.is_empty());
        assert_eq!(receive(&far, &mut buffer).unwrap_err().errno, nix::errno::Errno::EAGAIN);
    }
}
