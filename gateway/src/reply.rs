//! Bodies of answers. Five kinds: bytes that are there, pieces that are made as the client takes them, events
//! as they happen, files, and a result that is waited for with a space now and then. Must never hold an answer twice.

mod events;
mod exec;
mod files;
mod lines;
mod told;

pub(crate) use events::{Events, events, exit};
pub(crate) use exec::Pieces;
pub(crate) use files::{Ends, Entries, Files, Form, Text};
pub(crate) use lines::Lines;
pub(crate) use told::{Told, news};

use crate::api::Refusal;
use crate::error::ApiError;
use crate::limits;
use crate::quota::Held;
use crate::service::files::Broken;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// The body of every answer.
pub(crate) enum ReplyBody {
    /// All of it.
    Whole(Bytes),
    /// Made piece by piece.
    Pieces(Box<Pieces>),
    /// Output as it comes. Dropping it leaves the execution.
    Events(Box<Events>),
    /// What a command of a shell session says, as it comes.
    Lines(Box<Lines>),
    /// What happens in an organisation. Dropping it leaves the feed.
    News(Box<Told>),
    /// What a worker says of files.
    Files(Box<Files>),
    /// Nothing more: what was begun cannot be completed.
    Broken,
    /// Any of the others, and what it holds of its organisation's quota.
    Holding { body: Box<ReplyBody>, _held: Arc<Vec<Held>> },
    /// Spaces until the result is there. Dropping it drops the work.
    Waiting(Waiting),
}

/// Work that goes on behind an answer whose head is out.
pub(crate) struct Waiting {
    work: Pin<Box<dyn Future<Output = ReplyBody> + Send>>,
    spaces: Interval,
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Whole",
            Self::Pieces(_) => "Pieces",
            Self::Events(_) => "Events",
            Self::Lines(_) => "Lines",
            Self::News(_) => "News",
            Self::Files(_) => "Files",
            Self::Broken => "Broken",
            Self::Holding { .. } => "Holding",
            Self::Waiting(_) => "Waiting",
        })
    }
}

impl ReplyBody {
    /// A space at once and every while, then the result.
    pub(crate) fn waiting(work: impl Future<Output = Self> + Send + 'static) -> Self {
        let mut spaces = interval_at(Instant::now(), limits::EXEC_SPACE);
        spaces.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Waiting(Waiting { work: Box::pin(work), spaces })
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        while let Self::Waiting(waiting) = this {
            match waiting.work.as_mut().poll(cx) {
                Poll::Ready(body) => *this = body,
                Poll::Pending => {
                    let space = waiting.spaces.poll_tick(cx);
                    return space.map(|_| Some(Ok(Frame::data(Bytes::from_static(b" ")))));
                }
            }
        }
        let data = match this {
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Pieces(pieces) => pieces.next(),
            Self::Events(events) => std::task::ready!(events.poll_next(cx)),
            Self::Lines(lines) => std::task::ready!(lines.poll_next(cx)),
            Self::News(news) => std::task::ready!(news.poll_next(cx)),
            Self::Files(files) => {
                return files.poll_next(cx).map(|made| made.map(|made| made.map(Frame::data)));
            }
            Self::Broken => return Poll::Ready(Some(Err(Broken))),
            Self::Holding { body, .. } => return Pin::new(&mut **body).poll_frame(cx),
            Self::Waiting(_) => None,
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Holding { body, .. } => body.is_end_stream(),
            Self::Pieces(_)
            | Self::Events(_)
            | Self::Lines(_)
            | Self::News(_)
            | Self::Files(_)
            | Self::Broken
            | Self::Waiting(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Holding { body, .. } => body.size_hint(),
            Self::Files(files) => files.length().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Pieces(_)
            | Self::Events(_)
            | Self::Lines(_)
            | Self::News(_)
            | Self::Broken
            | Self::Waiting(_) => SizeHint::default(),
        }
    }
}

/// An answer of every route.
pub(crate) type Reply = Response<ReplyBody>;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer with this body.
pub(crate) fn with(status: StatusCode, content_type: HeaderValue, body: ReplyBody) -> Reply {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}

/// An answer of JSON that is being made.
pub(crate) fn stream(body: ReplyBody) -> Reply {
    with(StatusCode::OK, JSON, body)
}

/// The same answer; what is not sent at once holds `held` until it is.
pub(crate) fn holding(reply: Reply, held: Arc<Vec<Held>>) -> Reply {
    if held.is_empty() {
        return reply;
    }
    reply.map(|body| match body {
        ReplyBody::Whole(_) => body,
        body => ReplyBody::Holding { body: Box::new(body), _held: held },
    })
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match body(value) {
        Ok(body) => with(status, JSON, body),
        Err(body) => with(StatusCode::INTERNAL_SERVER_ERROR, JSON, body),
    }
}

/// The body of a JSON answer; one that cannot be encoded is a refusal.
pub(crate) fn body(value: &impl Serialize) -> Result<ReplyBody, ReplyBody> {
    match serde_json::to_vec(value) {
        Ok(bytes) => Ok(ReplyBody::Whole(Bytes::from(bytes))),
        Err(error) => {
            tracing::error!(%error, "an answer could not be encoded");
            Err(ReplyBody::Whole(Bytes::from_static(br#"{"error":"internal error"}"#)))
        }
    }
}

/// The answer of an error: the message, never the cause.
pub(crate) fn refuse(error: &ApiError) -> Reply {
    json(error.status, &Refusal { error: &error.message })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_client::{Budget, Collected};
    use crate::service::exec::{Finish, Outcome};
    use bulkhead_protocol::agent::Usage;
    use http_body_util::BodyExt;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_long_wait_is_filled_with_spaces() {
        let work = async {
            tokio::time::sleep(Duration::from_secs(40)).await;
            let collected = Collected::new(&Budget::default());
            let usage = Usage { cpu_ms: None, wall_ms: 0, peak_memory_bytes: None };
            let (stdout, stderr) = (collected.stdout, collected.stderr);
            let outcome = Outcome { stdout, stderr, finish: Finish::Gone, usage, output_open: false };
            ReplyBody::Pieces(Box::new(Pieces::new(outcome)))
        };
        let bytes = ReplyBody::waiting(work).collect().await.unwrap().to_bytes();
        assert!(bytes.starts_with(b"   {\"status\":\"success\""), "{bytes:?}");
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    }
}
