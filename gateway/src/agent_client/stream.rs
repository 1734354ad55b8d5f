//! An answer of an agent that consists of frames, read as its reader goes on: nothing is read ahead of it,
//! so a slow reader slows the agent and fills no memory. Dropping it closes the connection.

use super::exchange::Exchange;
use super::{AgentError, Frames};
use crate::limits;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// A stream of frames and its deadline.
pub(crate) struct FrameStream {
    exchange: Exchange,
    /// What has come; take items here, then ask for [`Self::more`].
    pub(crate) frames: Frames,
    /// Runs while nothing comes.
    silence: Pin<Box<Sleep>>,
}

impl std::fmt::Debug for FrameStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FrameStream").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl FrameStream {
    pub(super) fn new(exchange: Exchange, frames: Frames) -> Self {
        let silence = Box::pin(tokio::time::sleep(limits::AGENT_SILENCE));
        Self { exchange, frames, silence }
    }

    /// Reads further bytes into the frames. The end of the connection is an error: the last frame comes before.
    pub(crate) fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AgentError>> {
        match self.exchange.poll_chunk(cx) {
            Poll::Ready(Ok(Some(chunk))) => {
                self.frames.feed(&chunk);
                self.silence.as_mut().reset(Instant::now() + limits::AGENT_SILENCE);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(None)) => Poll::Ready(Err(AgentError::Closed)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => match self.silence.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(AgentError::Late("silence"))),
                Poll::Pending => Poll::Pending,
            },
        }
    }

    /// Begins to count the silence anew.
    pub(crate) fn forgive(&mut self) {
        self.silence.as_mut().reset(Instant::now() + limits::AGENT_SILENCE);
    }

    /// [`Self::poll_more`] as a future. Cancel-safe.
    pub(crate) async fn more(&mut self) -> Result<(), AgentError> {
        poll_fn(|cx| self.poll_more(cx)).await
    }
}
