//! An execution's output as frames: `Started` where it was started, output as it comes, `Ended`.
//!
//! The one that an attached execution is held by owns it: dropped before it gave out `Ended`, it kills everything
//! the execution started. All others only read.

use super::journal::{Item, Stream};
use super::link::{Link, Next, Reader, Wants};
use crate::body::{Piece, framed};
use bulkhead_protocol::agent::{KEEP_ALIVE_SECONDS, Started};
use bulkhead_protocol::frame::FrameType;
use bytes::Bytes;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Sleep;

/// See the module.
#[derive(Debug)]
pub(crate) struct Output {
    reader: Reader,
    state: State,
    started: Option<Started>,
    /// Sent on when `Ended` was given out; dropped without that, it tells the execution to die.
    hold: Option<oneshot::Sender<()>>,
    /// Runs while there is nothing to give out.
    silence: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Over,
}

impl Output {
    /// What follows an offset, or the end alone.
    pub(crate) fn new(link: Rc<Link>, wants: Wants, from: u64) -> Self {
        let reader = Reader::new(link, wants, from);
        Self { reader, state: State::Open, started: None, hold: None, silence: None }
    }

    /// Begins with this frame.
    pub(crate) fn with_start(self, started: Started) -> Self {
        Self { started: Some(started), ..self }
    }

    /// Is what the execution is held by.
    pub(crate) fn with_hold(self, hold: oneshot::Sender<()>) -> Self {
        Self { hold: Some(hold), ..self }
    }

    /// Waits for the first news, but no longer than `patience`: the answer to a short command is one write then,
    /// and wakes its reader once.
    pub(crate) async fn settle(&self, patience: Duration) {
        let news = std::future::poll_fn(|cx| self.reader.poll_news(cx));
        match tokio::time::timeout(patience, news).await {
            Ok(()) | Err(_) => {}
        }
    }

    /// Whether the last frame was given out.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The next frame; `None` after the last one.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        if self.is_over() {
            return Poll::Ready(None);
        }
        if let Some(started) = self.started.take() {
            return Poll::Ready(Some(json(FrameType::Started, &started)));
        }
        let Poll::Ready(next) = self.reader.poll_next(cx) else {
            return self.poll_silence(cx);
        };
        self.silence = None;
        Poll::Ready(match next {
            Next::Item(Item::Output(Stream::Stdout, bytes)) => Some(framed(FrameType::Stdout, bytes)),
            Next::Item(Item::Output(Stream::Stderr, bytes)) => Some(framed(FrameType::Stderr, bytes)),
            Next::Item(Item::Gap(gap)) => Some(json(FrameType::Gap, &gap)),
            Next::Ended(ended) => {
                self.let_go();
                Some(json(FrameType::Ended, &ended))
            }
            Next::Nothing => {
                self.state = State::Over;
                None
            }
        })
    }

    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        let pause = Duration::from_secs(KEEP_ALIVE_SECONDS);
        let silence = self.silence.get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        std::task::ready!(silence.as_mut().poll(cx));
        self.silence = None;
        // The body is asked again for what follows, and starts the next silence then.
        Poll::Ready(Some(framed(FrameType::KeepAlive, Bytes::new())))
    }

    /// From here on the execution goes its own way. One that nothing is left of does not listen any more.
    fn let_go(&mut self) {
        self.state = State::Over;
        if let Some(hold) = self.hold.take() {
            hold.send(()).unwrap_or_default();
        }
    }
}

fn json(kind: FrameType, value: &impl serde::Serialize) -> Piece {
    let text = serde_json::to_vec(value).expect("numbers and words of the protocol are JSON");
    framed(kind, Bytes::from(text))
}
