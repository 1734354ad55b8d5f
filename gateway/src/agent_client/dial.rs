//! The way to an agent: its unix socket, or a machine and a port (`bulkhead_protocol::address`). Whoever has the
//! connection reads it, writes it and shuts it down, and need not know which it is.

use super::AgentError;
use crate::dirs::Directory;
use crate::limits;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::address::{UNIX_SUFFIX, VSOCK_SUFFIX, VsockAddress};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, VsockAddr, socket};
use std::io;
use std::os::fd::AsRawFd;
use tokio::net::UnixStream;

/// Connects; a full backlog is tried again until the time is up.
pub(super) async fn connect(agents: &Directory, id: &SandboxId) -> Result<UnixStream, AgentError> {
    loop {
        match dial(agents, id).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(limits::AGENT_CONNECT_PAUSE).await;
            }
            Err(error) => return Err(AgentError::Unreachable(error)),
        }
    }
}

/// A sandbox has one entry or the other. The usual one is tried without a look, so that it costs no call.
async fn dial(agents: &Directory, id: &SandboxId) -> io::Result<UnixStream> {
    match UnixStream::connect(agents.entry(&format!("{id}{UNIX_SUFFIX}"))).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = agents.read(&format!("{id}{VSOCK_SUFFIX}"), VsockAddress::MAX_TEXT)?;
            let address = VsockAddress::parse(&text);
            into_machine(address.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?).await
        }
        outcome => outcome,
    }
}

/// Connects over AF_VSOCK (vsock(7)). A backlog that is full there looks like a port that nobody has.
async fn into_machine(address: VsockAddress) -> io::Result<UnixStream> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Vsock, SockType::Stream, flags, None)?;
    let peer = VsockAddr::new(address.cid(), address.port());
    match nix::sys::socket::connect(socket.as_raw_fd(), &peer) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err(errno.into()),
    }
    // The type brings readiness and looks at no address; the agent's side does the same.
    let stream = UnixStream::from_std(socket.into())?;
    stream.writable().await?;
    match stream.take_error()? {
        None => Ok(stream),
        Some(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    const ID: &str = "aaaabbbbbbbbbbbbbbbbbbbbbbbbbb";

    /// What comes of a directory with these entries.
    async fn outcome(entries: &[(&str, &[u8])]) -> io::Result<UnixStream> {
        let place = tempfile::tempdir().unwrap();
        for (suffix, text) in entries {
            std::fs::write(place.path().join(format!("{ID}{suffix}")), text).unwrap();
        }
        dial(&Directory::open(place.path()).unwrap(), &SandboxId::parse(ID).unwrap()).await
    }

    #[tokio::test]
    async fn without_an_entry_nobody_is_there() {
        assert_eq!(outcome(&[]).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[tokio::test]
    async fn what_is_no_address_is_not_dialled() {
        for text in
            [&b""[..], b"3:1\n", b"2:1024", b"/run/other.sock", b"4294967295:42949672951", &[b'1'; 4096]]
        {
            let error = outcome(&[(VSOCK_SUFFIX, text)]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{text:?}: {error}");
        }
    }

    #[tokio::test]
    async fn a_link_in_the_place_of_an_address_is_not_followed() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join("elsewhere"), "3:1").unwrap();
        std::os::unix::fs::symlink("elsewhere", place.path().join(format!("{ID}{VSOCK_SUFFIX}"))).unwrap();
        let agents = Directory::open(place.path()).unwrap();
        let error = dial(&agents, &SandboxId::parse(ID).unwrap()).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::ELOOP as i32), "{error}");
    }

    #[tokio::test]
    async fn a_unix_socket_goes_before_an_address() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(format!("{ID}{VSOCK_SUFFIX}")), "nonsense").unwrap();
        let listener = UnixListener::bind(place.path().join(format!("{ID}{UNIX_SUFFIX}"))).unwrap();
        let agents = Directory::open(place.path()).unwrap();
        dial(&agents, &SandboxId::parse(ID).unwrap()).await.unwrap();
        listener.accept().unwrap();
    }

    /// Whether the kernel knows the family, its loopback, or neither: at last it says so itself.
    #[tokio::test]
    async fn a_port_that_nobody_has_is_no_connection() {
        let entries = [(VSOCK_SUFFIX, &b"1:4294967294"[..])];
        let dialled = tokio::time::timeout(limits::AGENT_CONNECT * 4, outcome(&entries)).await;
        assert!(dialled.expect("an answer").is_err());
    }
}
