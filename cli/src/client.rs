//! A small client of the runtime's socket: one call at a time.

use crate::process::NoServer;
use anyhow::{Context, anyhow, bail};
use bulkhead_protocol::image::{ImageRow, ImportImage, ImportProgress};
use bulkhead_protocol::runtime::{
    Call, MAX_PACKET, Message, RUNTIME_PROTOCOL, RefusalKind, Reply, Request, Scarce,
};
use nix::fcntl::OFlag;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, UnixAddr, connect, recv, sendmsg,
    setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use std::fs::File;
use std::io::{BufRead, BufReader, IoSlice, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

/// Bytes of a line of progress; ours have below 200. A longer one and all behind it are not shown.
const MAX_LINE: u64 = 4096;

/// A connection.
#[derive(Debug)]
pub(crate) struct Runtime {
    socket: OwnedFd,
    seq: u64,
}

impl Runtime {
    /// To the runtime of the server that runs in this directory.
    pub(crate) fn connect(run_dir: &Path) -> anyhow::Result<Self> {
        Self::over(new_socket()?, run_dir)
    }

    /// The same for who has something else to do: each answer must begin within `patience`, at least a microsecond.
    pub(crate) fn connect_within(run_dir: &Path, patience: Duration) -> anyhow::Result<Self> {
        let socket = new_socket()?;
        let micros = patience.subsec_micros().into();
        let patience = TimeVal::new(i64::try_from(patience.as_secs())?, micros);
        setsockopt(&socket, sockopt::ReceiveTimeout, &patience).context("limit the wait for the runtime")?;
        // Of a connect too, while the queue of the socket is full.
        setsockopt(&socket, sockopt::SendTimeout, &patience).context("limit the wait for the runtime")?;
        Self::over(socket, run_dir)
    }

    fn over(socket: OwnedFd, run_dir: &Path) -> anyhow::Result<Self> {
        let path = run_dir.join("runtime.sock");
        let address = UnixAddr::new(&path).with_context(|| format!("{}", path.display()))?;
        connect(socket.as_raw_fd(), &address)
            .with_context(|| format!("connect to {}", path.display()))
            .context(NoServer)?;
        let mut runtime = Self { socket, seq: 0 };
        match runtime.call(Call::Hello { protocol: RUNTIME_PROTOCOL })? {
            Reply::Hello { protocol: RUNTIME_PROTOCOL, .. } => Ok(runtime),
            _ => bail!("the server is of another version"),
        }
    }

    /// Asks and waits for the answer.
    pub(crate) fn call(&mut self, call: Call) -> anyhow::Result<Reply> {
        self.send(call, &[])?;
        self.answer()
    }

    /// Imports an image; `watch` is told how far it is.
    pub(crate) fn import(
        &mut self,
        order: ImportImage,
        source: OwnedFd,
        watch: &mut (dyn FnMut(ImportProgress) + Send),
    ) -> anyhow::Result<ImageRow> {
        let (told, progress) = nix::unistd::pipe2(OFlag::O_CLOEXEC).context("pipe")?;
        self.send(Call::ImportImage(order), &[source, progress])?;
        // The pipe ends when the last who writes to it is gone, which may be before or after the answer.
        let reply = std::thread::scope(|scope| {
            scope.spawn(|| lines(File::from(told), watch));
            self.answer()
        });
        match reply? {
            Reply::Imported(row) => Ok(row),
            other => Err(unexpected(other)),
        }
    }

    fn send(&mut self, call: Call, descriptors: &[OwnedFd]) -> anyhow::Result<()> {
        self.seq += 1;
        let packet = serde_json::to_vec(&Request { seq: self.seq, call })?;
        let numbers: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&numbers)];
        let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
        let (fd, flags) = (self.socket.as_raw_fd(), MsgFlags::MSG_NOSIGNAL);
        sendmsg::<()>(fd, &[IoSlice::new(&packet)], control, flags, None).context("ask the runtime")?;
        Ok(())
    }

    fn answer(&mut self) -> anyhow::Result<Reply> {
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::MSG_TRUNC)
                .context("hear the runtime")?;
            let packet = buffer.get(..length).filter(|packet| !packet.is_empty());
            let packet = packet.ok_or_else(|| anyhow!("the runtime ended"))?;
            match serde_json::from_slice(packet).context("understand the runtime")? {
                Message::Reply { seq, reply: Reply::Refused { kind, detail } } if seq == self.seq => {
                    return Err(refused(kind, &detail));
                }
                Message::Reply { seq, reply } if seq == self.seq => return Ok(reply),
                Message::Reply { .. } | Message::Event(_) => {}
            }
        }
    }
}

fn new_socket() -> nix::Result<OwnedFd> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

/// An answer to another question.
pub(crate) fn unexpected(reply: Reply) -> anyhow::Error {
    drop(reply);
    anyhow!("the runtime gave an answer to another question")
}

fn refused(kind: RefusalKind, detail: &str) -> anyhow::Error {
    // An archive may have written it.
    let plain: String = detail.chars().filter(|c| !c.is_control()).collect();
    match kind {
        RefusalKind::Unknown => anyhow!("no such sandbox runs"),
        RefusalKind::UnknownImage => anyhow!("there is no such image"),
        RefusalKind::InvalidImage => anyhow!("the image is refused: {plain}"),
        RefusalKind::Busy => anyhow!("too many images are being made now"),
        RefusalKind::OverQuota(_) => anyhow!("its owner has as much as it may"),
        RefusalKind::NoRoom(Scarce::Disk) => anyhow!("there is no room on the disk: {plain}"),
        _ => anyhow!("the runtime refused: {plain}"),
    }
}

/// Reads progress to its end; what is no progress is passed over.
fn lines(from: File, watch: &mut dyn FnMut(ImportProgress)) {
    read_lines(from, |line| {
        if let Ok(progress) = serde_json::from_slice(line) {
            watch(progress);
        }
    });
}

/// Reads lines of JSON from somebody who is not trusted; one that is too long ends it, what follows is thrown away.
pub(crate) fn read_lines(from: impl Read, mut line: impl FnMut(&[u8])) {
    let mut from = BufReader::new(from);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        match from.by_ref().take(MAX_LINE).read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => return,
            Ok(_) if bytes.last() == Some(&b'\n') => line(&bytes),
            Ok(_) => {
                // Whoever writes must not have to wait.
                drop(std::io::copy(&mut from, &mut std::io::sink()));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::errno::Errno;
    use nix::sys::socket::{Backlog, bind, listen};

    #[test]
    fn a_runtime_that_says_nothing_is_not_waited_for() {
        let directory = std::env::temp_dir().join(format!("bulkhead-silent-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let silent = new_socket().unwrap();
        bind(silent.as_raw_fd(), &UnixAddr::new(&directory.join("runtime.sock")).unwrap()).unwrap();
        listen(&silent, Backlog::new(1).unwrap()).unwrap();
        let late = Runtime::connect_within(&directory, Duration::from_millis(10)).unwrap_err();
        std::fs::remove_dir_all(&directory).unwrap();
        assert_eq!(late.downcast_ref::<Errno>(), Some(&Errno::EAGAIN), "{late:#}");
    }

    #[test]
    fn lines_are_bounded() {
        let mut seen = Vec::new();
        let text = [&b"one\ntwo\n"[..], &vec![b'x'; 10_000], b"\nthree\n"].concat();
        read_lines(&text[..], |line| seen.push(line.to_vec()));
        assert_eq!(seen, [&b"one\n"[..], b"two\n"]);
    }
}
