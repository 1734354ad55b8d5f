//! The output of one command.

use bytes::Bytes;
use hyper::body::Frame;
use std::io;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;

/// Bytes of one read from the pipe, which holds as much.
const READ: usize = 64 << 10;

/// What a command writes, as it comes.
pub(crate) struct Output {
    child: Child,
    pipe: Receiver,
    buffer: Vec<u8>,
}

impl Output {
    /// Starts a script.
    pub(crate) fn of(script: &str) -> io::Result<Self> {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, pipe: Receiver::from_owned_fd(OwnedFd::from(pipe))?, buffer: vec![0; READ] })
    }

    /// The next of it, `None` at its end.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let mut into = ReadBuf::new(&mut self.buffer);
        ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut into))?;
        match into.filled() {
            [] => Poll::Ready(None),
            some => Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(some))))),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // One whose output was not read to its end still writes; one that has ended is only reaped.
        let (_killed, _reaped) = (self.child.kill(), self.child.wait());
    }
}
