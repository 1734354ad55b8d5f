//! The body of a stream of events. It reads from the agent only when the client has taken what was made
//! before: a slow client slows the program, and fills no memory.

use super::exec::{ending, used};
use super::{Reply, ReplyBody, with};
use crate::agent_client::Item;
use crate::api::Exit;
use crate::limits::{EVENT_COMMENT, EVENT_PIECE, HELD_TIME};
use crate::service::live::{Ending, Live};
use crate::sse::{Encoder, Encoding};
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderName, HeaderValue};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const NO_BUFFERING: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
const EXECUTION_PID: HeaderName = HeaderName::from_static("x-execution-pid");

/// Whether more can come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Over,
}

/// Events of one execution.
pub(crate) struct Events {
    live: Live,
    encoder: Encoder,
    stage: Stage,
    /// When a line that is held back goes out all the same.
    flush: Option<Instant>,
    /// When a comment goes out unless something else does.
    comment: Instant,
    timer: Pin<Box<Sleep>>,
}

/// An answer of events.
pub(crate) fn events(live: Live, handle: u64, encoding: Encoding) -> Reply {
    let mut reply = event_stream(ReplyBody::Events(Box::new(Events::new(live, encoding))));
    reply.headers_mut().insert(EXECUTION_PID, HeaderValue::from(handle));
    reply
}

/// An answer with the headers of a stream of events.
pub(super) fn event_stream(body: ReplyBody) -> Reply {
    let mut reply = with(StatusCode::OK, EVENT_STREAM, body);
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(NO_BUFFERING.0, NO_BUFFERING.1);
    reply
}

impl Events {
    fn new(mut live: Live, encoding: Encoding) -> Self {
        let encoder = Encoder::new(encoding, live.frames().offset());
        let comment = Instant::now() + EVENT_COMMENT;
        let timer = Box::pin(tokio::time::sleep_until(comment));
        Self { live, encoder, stage: Stage::Open, flush: None, comment, timer }
    }

    /// The next events, `None` behind the last.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if self.stage == Stage::Open {
                self.encode();
            }
            if let Some(bytes) = self.encoder.take() {
                self.comment = Instant::now() + EVENT_COMMENT;
                return Poll::Ready(Some(bytes));
            }
            if self.stage == Stage::Over {
                return Poll::Ready(None);
            }
            match self.live.poll_more(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(ending)) => self.end(ending),
                Poll::Pending if self.poll_time(cx).is_ready() => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Makes events of what has come, up to one piece.
    fn encode(&mut self) {
        let (before, mut news) = (self.encoder.resume(), false);
        while self.encoder.ready() < EVENT_PIECE {
            let item = match self.live.frames().next() {
                Ok(Some(item)) => item,
                Ok(None) => break,
                Err(error) => {
                    self.live.broke(error);
                    break;
                }
            };
            match item {
                Item::KeepAlive | Item::Started(_) => {}
                Item::Output(source, bytes) => {
                    self.encoder.output(source, bytes);
                    news = true;
                }
                Item::Gap(gap) => self.encoder.gap(gap),
                Item::Ended(ended) => {
                    let ending = self.live.ended(ended);
                    self.end(ending);
                    return;
                }
            }
        }
        if !self.encoder.holds() {
            self.flush = None;
        } else if news && (self.flush.is_none() || self.encoder.resume() != before) {
            self.flush = Some(Instant::now() + HELD_TIME);
        }
    }

    fn end(&mut self, ending: Ending) {
        self.stage = Stage::Over;
        let exit = exit(ending);
        let json = serde_json::to_string(&exit).unwrap_or_else(|error| {
            tracing::error!(%error, "the end of a stream could not be encoded");
            format!(r#"{{"exitCode":{}}}"#, exit.exit_code)
        });
        self.encoder.exit(&json);
    }

    /// Ready when it is time to send something that did not come from the agent, which is done.
    fn poll_time(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let next = self.flush.map_or(self.comment, |flush| flush.min(self.comment));
        if self.timer.deadline() != next {
            self.timer.as_mut().reset(next);
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if self.flush.is_some_and(|flush| flush <= now) {
            self.flush = None;
            self.encoder.flush();
        } else {
            self.encoder.comment();
        }
        // What is still held back is the beginning of a character: only the rest of it can move that.
        Poll::Ready(())
    }
}

/// An end as clients see it.
pub(crate) fn exit(over: Ending) -> Exit {
    let (exit_code, end) = ending(over.finish);
    let output_open = over.output_open.then_some(true);
    Exit { exit_code, error: over.error, end, usage: used(over.usage), output_open }
}
