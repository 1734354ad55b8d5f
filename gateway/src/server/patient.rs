//! A stream whose peer must go on reading: when nothing can be written for a while, the connection is over.
//! So a client that stops reading does not hold an answer in memory. What its organisation has sent too fast is
//! waited for here as well.

use super::claim::Claim;
use super::turn::Turn;
use crate::limits::WRITE_STALL;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// The stream, and when its patience ends.
pub(super) struct Patient<S> {
    inner: S,
    /// Runs while a write waits.
    stall: Option<Pin<Box<Sleep>>>,
    claim: Claim,
    /// Whether the peer waits for an answer.
    turn: Turn,
    /// Runs while bytes are paid for.
    pause: Option<Pin<Box<Sleep>>>,
}

impl<S: Unpin> Patient<S> {
    pub(super) fn new(inner: S, claim: Claim, turn: Turn) -> Self {
        Self { inner, stall: None, claim, turn, pause: None }
    }

    /// Ready once everything sent so far is paid for.
    fn poll_paid(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.pause.is_none() {
            let debt = self.claim.debt();
            if debt.is_zero() {
                return Poll::Ready(());
            }
            self.pause = Some(Box::pin(tokio::time::sleep(debt)));
        }
        // After a wait something goes out, whatever others have sent meanwhile: nobody starves.
        let paid = self.pause.as_mut().map_or(Poll::Ready(()), |pause| pause.as_mut().poll(cx));
        if paid.is_ready() {
            self.pause = None;
        }
        paid
    }

    fn count(&mut self, written: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = written {
            self.claim.sent(*bytes);
            self.turn.said();
        }
    }

    fn judge<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(tokio::time::sleep(WRITE_STALL)));
        match stall.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.turn.heard();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_paid(cx));
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.count(&written);
        self.judge(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.poll_paid(cx));
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.count(&written);
        self.judge(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_does_not_read_is_cut() {
        let (near, _far) = tokio::io::duplex(64);
        let mut patient = Patient::new(near, Claim::nobody(), Turn::new());
        let start = tokio::time::Instant::now();
        let error = patient.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= WRITE_STALL);
    }
}
