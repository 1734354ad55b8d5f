//! Talks to the runtime of a server directly, as root may: what no route of the API can ask for, or not yet.

use crate::eventually::eventually;
use crate::server::Server;
use bulkhead_protocol::runtime::{Call, MAX_PACKET, Message, RUNTIME_PROTOCOL, Reply, Request};
use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, send, sendmsg,
    setsockopt, socket,
};
use nix::sys::time::TimeVal;
use std::io::IoSlice;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Seconds that a call may take.
const PATIENCE: i64 = 30;

/// A connection to the runtime's socket. One call at a time.
#[derive(Debug)]
pub struct RuntimeLink {
    socket: OwnedFd,
    seq: u64,
}

impl RuntimeLink {
    /// Connects; a runtime that was just killed is waited for.
    ///
    /// # Panics
    /// When no runtime answers.
    #[must_use]
    pub fn to(server: &Server) -> Self {
        let path = server.instance().run.join("runtime.sock");
        let address = UnixAddr::new(&path).expect("a short path");
        // One that takes the connection may be dying.
        eventually("the runtime answers", || {
            let mut link = Self::connect(&address).map_err(|errno| errno.to_string())?;
            link.send(Call::Hello { protocol: RUNTIME_PROTOCOL });
            match link.answer() {
                Some(Reply::Hello { protocol: RUNTIME_PROTOCOL, .. }) => Ok(link),
                other => Err(format!("{other:?}")),
            }
        })
    }

    fn connect(address: &UnixAddr) -> Result<Self, Errno> {
        let socket = socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(PATIENCE, 0))?;
        connect(socket.as_raw_fd(), address)?;
        Ok(Self { socket, seq: 0 })
    }

    /// Asks and waits for the answer; events on the way are passed over.
    ///
    /// # Panics
    /// When the connection ends or nothing comes in time.
    pub fn call(&mut self, call: Call) -> Reply {
        self.send(call);
        self.answer().expect("the runtime answers")
    }

    /// Asks only.
    ///
    /// # Panics
    /// Never: every call is JSON.
    pub fn send(&mut self, call: Call) {
        self.seq += 1;
        let packet = serde_json::to_vec(&Request { seq: self.seq, call }).expect("a call is JSON");
        // One that has just died says so when it is asked for the answer.
        send(self.socket.as_raw_fd(), &packet, MsgFlags::MSG_NOSIGNAL).unwrap_or_default();
    }

    /// Asks with descriptors in the packet.
    ///
    /// # Panics
    /// When the packet cannot be sent.
    pub fn send_with(&mut self, call: Call, rights: &[BorrowedFd<'_>]) {
        self.seq += 1;
        let packet = serde_json::to_vec(&Request { seq: self.seq, call }).expect("a call is JSON");
        let numbers: Vec<_> = rights.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&numbers)];
        let parts = [IoSlice::new(&packet)];
        sendmsg::<()>(self.socket.as_raw_fd(), &parts, &control, MsgFlags::MSG_NOSIGNAL, None)
            .expect("a packet with descriptors");
    }

    /// The answer to the last call; `None` when the runtime is gone.
    ///
    /// # Panics
    /// When what comes is no message of the protocol.
    pub fn answer(&mut self) -> Option<Reply> {
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let length =
                recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()).ok().filter(|n| *n > 0)?;
            match serde_json::from_slice(&buffer[..length]).expect("a message") {
                Message::Reply { seq, reply } if seq == self.seq => return Some(reply),
                Message::Reply { .. } | Message::Event(_) => {}
            }
        }
    }
}
