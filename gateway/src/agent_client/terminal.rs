//! A terminal of an agent: an HTTP connection that was upgraded, then frames both ways. Whoever holds it
//! drives it, in its own task; dropping it detaches.
//!
//! Must never hold more than one frame and one read of output, nor more input than it was given while
//! [`Terminal::has_room`] held.

use super::dial::connect;
use super::upgrade::{Upgraded, upgrade};
use super::{AgentClient, AgentError, FrameStream, Frames, Item, Source, path, within};
use crate::limits;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::agent::{Gap, Size, StartFailure, StartFailureKind};
use bulkhead_protocol::frame::{FrameType, MAX_PAYLOAD, encode};
use bytes::{Buf, Bytes, BytesMut};
use hyper::{Request, StatusCode};
use serde::de::IgnoredAny;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::Instant;

/// What a terminal says.
#[derive(Debug)]
pub(crate) enum Heard {
    /// The next bytes of its output.
    Output(Bytes),
    /// Bytes that its journal no longer has.
    Gap(Gap),
    /// All input that was given is with the agent.
    Typed,
    /// The last of it: the execution is over.
    Ended,
}

/// Whether the other side is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    Yes,
    No,
}

/// An open terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    stream: UnixStream,
    frames: Frames,
    input: BytesMut,
    heard: Instant,
}

impl AgentClient {
    /// Attaches to the terminal of the execution `handle`, from the offset `from` on.
    pub(crate) async fn terminal(
        &self,
        id: &SandboxId,
        handle: u64,
        from: u64,
    ) -> Result<Terminal, AgentError> {
        let stream = within(limits::AGENT_CONNECT, "connect", connect(&self.agents, id)).await?;
        let path = format!("{}?from={from}", path(handle, "terminal"));
        within(limits::AGENT_FIRST_BYTE, "first byte", attach(stream, path, from)).await
    }
}

impl AgentClient {
    /// Gives a terminal another size.
    pub(crate) async fn resize(&self, id: &SandboxId, handle: u64, size: Size) -> Result<(), AgentError> {
        let IgnoredAny = self.post(id, &path(handle, "size"), &size).await?;
        Ok(())
    }
}

/// What the agent answers to a request for a terminal.
async fn attach(stream: UnixStream, path: String, from: u64) -> Result<Terminal, AgentError> {
    match upgrade(stream, Request::get(path), Bytes::new()).await? {
        Upgraded::Yes(stream, first) => Ok(Terminal::new(stream, &first, from)),
        Upgraded::No(StatusCode::NOT_FOUND, _) => Err(AgentError::NotFound),
        Upgraded::No(StatusCode::CONFLICT, _) => Err(AgentError::Conflict),
        // As many clients as it takes sit at its terminals.
        Upgraded::No(StatusCode::SERVICE_UNAVAILABLE, _) => {
            let full = StartFailure { kind: StartFailureKind::TerminalLimit, errno: None };
            Err(AgentError::Refused(full))
        }
        Upgraded::No(..) => Err(AgentError::Malformed("status of a terminal")),
    }
}

impl Terminal {
    fn new(stream: UnixStream, first: &[u8], from: u64) -> Self {
        let mut frames = Frames::from(from);
        frames.feed(first);
        Self { stream, frames, input: BytesMut::new(), heard: Instant::now() }
    }

    /// Whether more input may be given.
    pub(crate) fn has_room(&self) -> bool {
        self.input.len() < limits::TERMINAL_INPUT
    }

    /// Whether input is on its way to the agent.
    pub(crate) fn is_typing(&self) -> bool {
        !self.input.is_empty()
    }

    /// Takes keystrokes; they go out while [`Self::event`] is polled.
    pub(crate) fn type_bytes(&mut self, bytes: &[u8]) {
        let mut frames = Vec::with_capacity(bytes.len() + 8);
        for piece in bytes.chunks(MAX_PAYLOAD) {
            encode(FrameType::Input, piece, &mut frames);
        }
        self.input.extend_from_slice(&frames);
    }

    /// When the agent will have been silent for too long, while it is listened to.
    pub(crate) fn deadline(&self) -> Instant {
        self.heard + limits::AGENT_SILENCE
    }

    /// Forgives the silence of a time in which nobody listened.
    pub(crate) fn forgive(&mut self) {
        self.heard = Instant::now();
    }

    /// Sends input and waits for what comes next. Cancel-safe.
    pub(crate) async fn event(&mut self, listen: Listen) -> Result<Heard, AgentError> {
        poll_fn(|cx| {
            if self.poll_input(cx)?.is_ready() {
                return Poll::Ready(Ok(Heard::Typed));
            }
            if listen == Listen::No { Poll::Pending } else { self.poll_output(cx) }
        })
        .await
    }

    /// Leaves after typing. What was typed stays in the connection until the agent has read it; an agent that
    /// sees the end of the input closes, and one that does not is left after a moment.
    pub(crate) async fn finish(mut self) -> Result<(), AgentError> {
        self.stream.shutdown().await.map_err(|_| AgentError::Closed)?;
        let closed = tokio::time::timeout(limits::TYPING_GRACE, async {
            loop {
                match self.event(Listen::Yes).await {
                    Ok(Heard::Ended) | Err(AgentError::Closed) => return Ok(()),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
            }
        });
        closed.await.unwrap_or(Ok(()))
    }

    /// Ready when the last byte of waiting input was written just now.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, AgentError> {
        while !self.input.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.input) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(Ok(0)) => return Err(AgentError::Closed),
                Poll::Ready(Ok(count)) => self.input.advance(count),
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    // The end may have crossed it: what the agent said last is still to be read.
                    self.input.clear();
                    return Ok(Poll::Pending);
                }
                Poll::Ready(Err(_)) => return Err(AgentError::Closed),
            }
            if self.input.is_empty() {
                self.input = BytesMut::new();
                return Ok(Poll::Ready(()));
            }
        }
        Ok(Poll::Pending)
    }

    fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Result<Heard, AgentError>> {
        loop {
            if let Some(heard) = self.next_heard()? {
                return Poll::Ready(Ok(heard));
            }
            let mut room = [0; limits::TERMINAL_READ];
            let mut buffer = ReadBuf::new(&mut room);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)).map_err(|_| AgentError::Closed)?;
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(AgentError::Closed));
            }
            self.heard = Instant::now();
            self.frames.feed(buffer.filled());
        }
    }

    fn next_heard(&mut self) -> Result<Option<Heard>, AgentError> {
        loop {
            return Ok(Some(match self.frames.next()? {
                None => return Ok(None),
                Some(Item::KeepAlive | Item::Started(_)) => continue,
                Some(Item::Output(Source::Stdout, bytes)) => Heard::Output(Bytes::copy_from_slice(bytes)),
                // A terminal has one stream.
                Some(Item::Output(Source::Stderr, _)) => {
                    return Err(AgentError::Malformed("order of frames"));
                }
                Some(Item::Gap(gap)) => Heard::Gap(gap),
                Some(Item::Ended(_)) => {
                    self.frames.nothing_follows()?;
                    Heard::Ended
                }
            }));
        }
    }
}

/// The connection that an attached execution lives by. Beside its handle and its end, which its terminal says
/// too, it says nothing.
#[derive(Debug)]
pub(crate) struct Owner {
    /// `None` after its end; the terminal says how it ended.
    stream: Option<FrameStream>,
}

impl Owner {
    /// Waits until the execution runs, and gives its handle.
    pub(crate) async fn new(mut stream: FrameStream) -> Result<(Self, u64), AgentError> {
        let handle = loop {
            match stream.frames.next()? {
                Some(Item::Started(handle)) => break handle,
                Some(_) => {}
                None => stream.more().await?,
            }
        };
        Ok((Self { stream: Some(stream) }, handle))
    }

    /// Throws away what comes, for ever. Cancel-safe.
    pub(crate) async fn drain(&mut self) {
        while let Some(stream) = &mut self.stream {
            let end = match stream.frames.next() {
                Ok(Some(Item::Ended(_))) | Err(_) => true,
                Ok(Some(_)) => false,
                Ok(None) => stream.more().await.is_err(),
            };
            if end {
                self.stream = None;
            }
        }
        std::future::pending().await
    }
}
