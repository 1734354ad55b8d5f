//! A worker that does one file operation: an upgraded connection, then frames (`bulkhead_protocol::files`). Whoever
//! holds it drives it, in its own task; dropping it ends the worker.
//!
//! Content is passed on as slices of what was read: nothing is copied on its way. Must never hold more than one read.

mod checks;

pub(crate) use checks::{Lines, Seen, entry, event};

use super::dial::connect;
use super::upgrade::{Upgraded, upgrade};
use super::{AgentClient, AgentError, json, within};
use crate::limits;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::files::{FILES_PATH, FileCall, FileDone, FileFailure, FileHead};
use bulkhead_protocol::frame::{FrameType, HEADER_LEN, MAX_PAYLOAD, header};
use bytes::{Bytes, BytesMut};
use hyper::{Request, StatusCode};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::AsyncWrite;
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep};

/// What a worker says, one after the other.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The next bytes of its content, never none.
    Content(Bytes),
    /// The last of it.
    Done(Box<FileDone>),
}

/// What came of the first word.
#[derive(Debug)]
pub(crate) enum Opened {
    /// The operation goes on; of a download the size of the whole file.
    Begun(Link, Option<u64>),
    /// It had no effect.
    Failed(FileFailure),
}

/// A frame's head, or a piece of content.
enum Word {
    Head(FileHead),
    Piece(Piece),
}

/// The connection to a worker.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    buffer: BytesMut,
    /// Bytes of content that the present frame still has.
    left: usize,
    phase: Phase,
    empty: u64,
    since: Instant,
    /// Runs while nothing comes.
    silence: Pin<Box<Sleep>>,
}

/// Where a conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    New,
    Begun,
    Over,
}

impl AgentClient {
    /// Starts a worker and waits for its first word.
    pub(crate) async fn file(&self, id: &SandboxId, call: &FileCall) -> Result<Opened, AgentError> {
        let body = serde_json::to_vec(call).map_err(|_| AgentError::Malformed("request"))?;
        let stream = within(limits::AGENT_CONNECT, "connect", connect(&self.agents, id)).await?;
        let upgrade = upgrade(stream, Request::post(FILES_PATH), Bytes::from(body));
        let (stream, first) = match within(limits::AGENT_FIRST_BYTE, "first byte", upgrade).await? {
            Upgraded::Yes(stream, first) => (stream, first),
            Upgraded::No(StatusCode::UNPROCESSABLE_ENTITY, body) => {
                return Err(AgentError::Refused(json(&body)?));
            }
            Upgraded::No(..) => return Err(AgentError::Malformed("status of a file operation")),
        };
        let mut link = Link::new(stream, &first);
        match poll_fn(|cx| link.poll_word(cx)).await? {
            Word::Head(FileHead::Begun { size, .. }) => {
                Ok(Opened::Begun(link, size.map(|size| size.min(limits::MAX_COUNT))))
            }
            Word::Head(FileHead::Failed(failure)) => Ok(Opened::Failed(failure)),
            Word::Piece(_) => Err(AgentError::Malformed("order of frames")),
        }
    }
}

impl Link {
    fn new(stream: UnixStream, first: &[u8]) -> Self {
        Self {
            stream,
            buffer: BytesMut::from(first),
            left: 0,
            phase: Phase::New,
            empty: 0,
            since: Instant::now(),
            silence: Box::pin(tokio::time::sleep(limits::AGENT_SILENCE)),
        }
    }

    /// Begins to count the silence anew.
    pub(crate) fn forgive(&mut self) {
        self.silence.as_mut().reset(Instant::now() + limits::AGENT_SILENCE);
    }

    /// What comes next.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, AgentError>> {
        Poll::Ready(match ready!(self.poll_word(cx))? {
            Word::Piece(piece) => Ok(piece),
            Word::Head(_) => Err(AgentError::Malformed("order of frames")),
        })
    }

    /// [`Self::poll_piece`] as a future. Cancel-safe.
    pub(crate) async fn piece(&mut self) -> Result<Piece, AgentError> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }

    fn poll_word(&mut self, cx: &mut Context<'_>) -> Poll<Result<Word, AgentError>> {
        loop {
            if let Some(word) = self.next_word()? {
                return Poll::Ready(Ok(word));
            }
            match self.poll_read(cx) {
                Poll::Ready(read) => read?,
                Poll::Pending => {
                    ready!(self.silence.as_mut().poll(cx));
                    return Poll::Ready(Err(AgentError::Late("silence")));
                }
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        loop {
            ready!(self.stream.poll_read_ready(cx)).map_err(|_| AgentError::Closed)?;
            // What was passed on keeps its own part of the memory: a new read gets its own.
            if self.buffer.capacity() - self.buffer.len() < limits::FILE_READ / 4 {
                self.buffer.reserve(limits::FILE_READ);
            }
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => return Poll::Ready(Err(AgentError::Closed)),
                Ok(_) => {
                    self.forgive();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Poll::Ready(Err(AgentError::Closed)),
            }
        }
    }

    /// The next word that is there.
    fn next_word(&mut self) -> Result<Option<Word>, AgentError> {
        loop {
            if self.left > 0 {
                let count = self.left.min(self.buffer.len());
                self.left -= count;
                let content = || Word::Piece(Piece::Content(self.buffer.split_to(count).freeze()));
                return Ok((count > 0).then(content));
            }
            let Some((kind, length)) = checks::header(&self.buffer)? else { return Ok(None) };
            if length == 0 {
                self.count_empty()?;
            }
            match (kind, self.phase) {
                (_, Phase::Over) => return Err(AgentError::Malformed("bytes after the end")),
                (FrameType::KeepAlive, _) if length == 0 => drop(self.buffer.split_to(HEADER_LEN)),
                (FrameType::Optional, _) => {
                    let Some(_) = self.whole(length)? else { return Ok(None) };
                    self.count_empty()?;
                }
                (FrameType::Stdout, Phase::Begun) => {
                    drop(self.buffer.split_to(HEADER_LEN));
                    self.left = length;
                }
                (FrameType::Head, Phase::New) => {
                    let Some(payload) = self.whole(length)? else { return Ok(None) };
                    let head = checks::parse(&payload)?;
                    self.phase = Phase::Begun;
                    return Ok(Some(Word::Head(head)));
                }
                (FrameType::Done, Phase::Begun) => {
                    let Some(payload) = self.whole(length)? else { return Ok(None) };
                    let done = checks::done(&payload)?;
                    self.phase = Phase::Over;
                    return Ok(Some(Word::Piece(Piece::Done(Box::new(done)))));
                }
                _ => return Err(AgentError::Malformed("order of frames")),
            }
        }
    }

    fn count_empty(&mut self) -> Result<(), AgentError> {
        self.empty += 1;
        if self.empty > limits::EMPTY_FRAMES + self.since.elapsed().as_secs() {
            return Err(AgentError::Malformed("too many empty frames"));
        }
        Ok(())
    }

    /// The payload of a frame of JSON, once all of it is there.
    fn whole(&mut self, length: usize) -> Result<Option<Bytes>, AgentError> {
        if length > limits::FILE_JSON {
            return Err(AgentError::Malformed("long json"));
        }
        if self.buffer.len() < HEADER_LEN + length {
            return Ok(None);
        }
        drop(self.buffer.split_to(HEADER_LEN));
        Ok(Some(self.buffer.split_to(length).freeze()))
    }

    /// Gives the worker content. A worker that no longer reads has said why, or says nothing: that is for
    /// [`Self::piece`] to tell, so it is no error here.
    pub(crate) async fn send(&mut self, content: &[u8]) -> Result<(), AgentError> {
        for piece in content.chunks(MAX_PAYLOAD) {
            let head = header(FrameType::Input, piece.len());
            within(limits::AGENT_INPUT, "input", self.write(&head, piece)).await?;
        }
        Ok(())
    }

    /// Says that the content is complete.
    pub(crate) async fn end(&mut self) -> Result<(), AgentError> {
        let head = header(FrameType::InputEnd, 0);
        within(limits::AGENT_INPUT, "input", self.write(&head, &[])).await
    }

    async fn write(&mut self, mut head: &[u8], mut payload: &[u8]) -> Result<(), AgentError> {
        while !head.is_empty() || !payload.is_empty() {
            let slices = [IoSlice::new(head), IoSlice::new(payload)];
            let written = poll_fn(|cx| Pin::new(&mut self.stream).poll_write_vectored(cx, &slices)).await;
            match written {
                Ok(0) => return Err(AgentError::Closed),
                Ok(count) => {
                    let of_head = count.min(head.len());
                    (head, payload) = (&head[of_head..], &payload[count - of_head..]);
                }
                Err(error) if is_gone(&error) => return Ok(()),
                Err(_) => return Err(AgentError::Closed),
            }
        }
        // A wait for the worker is no silence of it.
        self.forgive();
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests;
