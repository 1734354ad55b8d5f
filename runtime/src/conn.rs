//! The request socket: seqpacket, one JSON value per packet, for the gateway's uid and root alone.

use crate::error::{Doing, Result};
use crate::instance::Instance;
use bulkhead_protocol::address::{UNIX_SUFFIX, VSOCK_SUFFIX};
use bulkhead_protocol::runtime::{MAX_PACKET, Message, RefusalKind, Reply, Request};
use bulkhead_sys::error::Context;
use bulkhead_sys::{fd, rights};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, bind, getsockopt, listen, send, socket,
    sockopt,
};
use nix::unistd::Uid;
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Connections at once: a gateway, the one that replaces it, and an operator's tools.
pub(crate) const MAX_CONNECTIONS: usize = 16;
/// Waiting connections of an agent's socket; more find it busy.
const AGENT_BACKLOG: i32 = 128;
/// How names end of what leads to an agent. Files with the address of a machine are written by whoever made that.
const ENTRIES: [&str; 2] = [UNIX_SUFFIX, VSOCK_SUFFIX];

/// Who asked what, to be answered later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) connection: u64,
    pub(crate) seq: u64,
}

/// One connection of a gateway.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) socket: OwnedFd,
    /// Who asks: the gateway's user, or root.
    pub(crate) peer: Uid,
}

/// What a connection gave.
pub(crate) enum Received {
    /// With the descriptors that came along.
    Request(Request, Vec<OwnedFd>),
    /// Not a request; the peer is no gateway of ours.
    Garbage(String),
    Nothing,
    Closed,
}

impl Connection {
    pub(crate) fn receive(&self) -> Received {
        let mut buffer = vec![0; MAX_PACKET];
        let packet = match rights::receive(&self.socket, &mut buffer) {
            Ok(packet) => packet,
            Err(error) if matches!(error.errno, Errno::EAGAIN | Errno::EINTR) => return Received::Nothing,
            Err(_) => return Received::Closed,
        };
        match packet.length {
            0 => Received::Closed,
            length if length > MAX_PACKET => Received::Garbage(format!("packet of {length} bytes")),
            length => match serde_json::from_slice(&buffer[..length]) {
                Ok(request) => Received::Request(request, packet.rights),
                Err(error) => Received::Garbage(error.to_string()),
            },
        }
    }

    /// False when the peer does not take it: it is gone, or so slow that its queue is full.
    pub(crate) fn send(&self, message: &Message) -> bool {
        encode(message).is_some_and(|bytes| {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            send(self.socket.as_raw_fd(), &bytes, flags).is_ok_and(|sent| sent == bytes.len())
        })
    }

    pub(crate) fn reply(&self, seq: u64, reply: Reply) -> bool {
        self.send(&Message::Reply { seq, reply })
    }
}

/// A packet. A reply too long for one becomes a refusal: the peer would end the connection over it, and with that the
/// calls of everybody.
fn encode(message: &Message) -> Option<Vec<u8>> {
    let bytes = serde_json::to_vec(message).ok()?;
    if bytes.len() <= MAX_PACKET {
        return Some(bytes);
    }
    tracing::error!(bytes = bytes.len(), "a message is longer than a packet");
    let Message::Reply { seq, .. } = *message else { return None };
    let reply = Reply::Refused { kind: RefusalKind::Failed, detail: "an answer is too long".into() };
    serde_json::to_vec(&Message::Reply { seq, reply }).ok()
}

/// The listening socket of the runtime.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: OwnedFd,
    gateway_uid: u32,
}

impl Listener {
    pub(crate) fn bind(instance: &Instance) -> Result<Self> {
        let run_dir = crate::instance::open_directory(&instance.run_dir)?;
        let socket =
            listen_at(run_dir.as_fd(), "runtime.sock", SockType::SeqPacket, instance.gateway_uid, 16)?;
        Ok(Self { socket, gateway_uid: instance.gateway_uid })
    }

    /// The next connection, if its peer may ask.
    pub(crate) fn accept(&self) -> Result<Option<Connection>> {
        let Some(socket) = fd::accept(&self.socket).doing("accept a gateway")? else { return Ok(None) };
        let peer = getsockopt(&socket, sockopt::PeerCredentials)
            .during("getsockopt", || "SO_PEERCRED".into())
            .doing("ask who connects")?;
        if peer.uid() != self.gateway_uid && peer.uid() != 0 {
            tracing::warn!(uid = peer.uid(), "connection of a stranger refused");
            return Ok(None);
        }
        Ok(Some(Connection { socket, peer: Uid::from_raw(peer.uid()) }))
    }
}

/// The listening socket of an agent, at `<run-dir>/gateway/agents/<id>.sock`: the path exists on the host alone,
/// the sandbox inherits the descriptor.
pub(crate) fn agent_listener(instance: &Instance, id: &str) -> Result<OwnedFd> {
    let name = format!("{id}{UNIX_SUFFIX}");
    listen_at(instance.agents.as_fd(), &name, SockType::Stream, instance.gateway_uid, AGENT_BACKLOG)
}

/// Takes away what leads to an agent: the path of its socket, or the file with the address of its machine. A missing one is
/// fine.
pub(crate) fn remove_agent_socket(instance: &Instance, id: &str) -> Result<()> {
    ENTRIES.iter().try_for_each(|suffix| unlink(instance.agents.as_fd(), &format!("{id}{suffix}")))
}

/// Removes the sockets of agents that are not `known`: a runtime was killed between two steps of a destroy.
pub(crate) fn remove_strange_sockets(instance: &Instance, known: &dyn Fn(&str) -> bool) -> Result<()> {
    for id in agent_sockets(instance)? {
        if !known(&id) {
            remove_agent_socket(instance, &id)?;
        }
    }
    Ok(())
}

/// The ids that something leads to an agent of.
pub(crate) fn agent_sockets(instance: &Instance) -> Result<Vec<String>> {
    let names = || -> std::result::Result<Vec<_>, Errno> {
        let flags =
            nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
        let again = nix::fcntl::openat(&instance.agents, ".", flags, nix::sys::stat::Mode::empty())?;
        nix::dir::Dir::from_fd(again)?
            .iter()
            .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
            .collect()
    };
    let names = names().during("getdents", || "agents".into()).doing("list the sockets of agents")?;
    let names = names.iter().filter_map(|name| name.to_str().ok());
    let id = |name: &str| ENTRIES.iter().find_map(|suffix| name.strip_suffix(suffix)).map(str::to_owned);
    Ok(names.filter_map(id).collect())
}

fn unlink(directory: BorrowedFd<'_>, name: &str) -> Result<()> {
    match nix::unistd::unlinkat(directory, name, nix::unistd::UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).during("unlinkat", || name.to_owned()).doing("remove a socket"),
    }
}

/// Binds in a directory by descriptor: paths of sockets are 108 bytes at most. One that is left over is replaced.
///
/// Nobody but root may write to the directory: what is bound and given away here cannot be swapped in between.
fn listen_at(
    directory: BorrowedFd<'_>,
    name: &str,
    kind: SockType,
    owner: u32,
    backlog: i32,
) -> Result<OwnedFd> {
    unlink(directory, name)?;
    let socket = socket(AddressFamily::Unix, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)
        .during("socket", || "AF_UNIX".into())
        .doing("make a socket")?;
    let mut path = String::new();
    write!(path, "/proc/self/fd/{}/{name}", directory.as_raw_fd()).expect("a String takes all text");
    let bound = UnixAddr::new(path.as_str()).and_then(|address| bind(socket.as_raw_fd(), &address));
    bound.during("bind", || name.to_owned()).doing("make a socket")?;
    let owner = (Some(Uid::from_raw(owner)), Some(nix::unistd::Gid::from_raw(owner)));
    nix::unistd::fchownat(directory, name, owner.0, owner.1, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW)
        .during("fchownat", || name.to_owned())
        .doing("give a socket to the gateway")?;
    Backlog::new(backlog)
        .and_then(|backlog| listen(&socket, backlog))
        .during("listen", || name.to_owned())
        .doing("make a socket")?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_too_long_is_a_refusal_of_its_call_alone() {
        let file = |length| Message::Reply { seq: 7, reply: Reply::File { text: "x".repeat(length) } };
        assert_eq!(
            encode(&file(MAX_PACKET - 100)).unwrap(),
            serde_json::to_vec(&file(MAX_PACKET - 100)).unwrap()
        );
        let packet = encode(&file(MAX_PACKET)).unwrap();
        assert!(matches!(
            serde_json::from_slice(&packet).unwrap(),
            Message::Reply { seq: 7, reply: Reply::Refused { kind: RefusalKind::Failed, .. } }
        ));
    }
}
