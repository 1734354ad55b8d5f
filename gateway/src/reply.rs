//! Bodies of answers. Three kinds: bytes that are there, pieces that are made as the client takes them, and a
//! result that is waited for with a space now and then. Must never hold an answer twice.

mod exec;

pub(crate) use exec::Pieces;

use crate::api::Refusal;
use crate::error::ApiError;
use crate::limits;
use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// The body of every answer.
pub(crate) enum ReplyBody {
    /// All of it.
    Whole(Bytes),
    /// Made piece by piece.
    Pieces(Box<Pieces>),
    /// Spaces until the result is there. Dropping it drops the work.
    Waiting(Waiting),
}

/// Work that goes on behind an answer whose head is out.
pub(crate) struct Waiting {
    work: Pin<Box<dyn Future<Output = Pieces> + Send>>,
    spaces: Interval,
}

impl std::fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Whole",
            Self::Pieces(_) => "Pieces",
            Self::Waiting(_) => "Waiting",
        })
    }
}

impl ReplyBody {
    /// A space at once and every while, then the result.
    pub(crate) fn waiting(work: impl Future<Output = Pieces> + Send + 'static) -> Self {
        let mut spaces = interval_at(Instant::now(), limits::EXEC_SPACE);
        spaces.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self::Waiting(Waiting { work: Box::pin(work), spaces })
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let data = match this {
            Self::Whole(bytes) => Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty()),
            Self::Pieces(pieces) => pieces.next(),
            Self::Waiting(waiting) => match waiting.work.as_mut().poll(cx) {
                Poll::Ready(mut pieces) => {
                    let first = pieces.next();
                    *this = Self::Pieces(Box::new(pieces));
                    first
                }
                Poll::Pending => match waiting.spaces.poll_tick(cx) {
                    Poll::Ready(_) => Some(Bytes::from_static(b" ")),
                    Poll::Pending => return Poll::Pending,
                },
            },
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Pieces(_) | Self::Waiting(_) => SizeHint::default(),
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

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    match serde_json::to_vec(value) {
        Ok(bytes) => with(status, JSON, ReplyBody::Whole(Bytes::from(bytes))),
        Err(error) => {
            tracing::error!(%error, "an answer could not be encoded");
            let text = Bytes::from_static(br#"{"error":"internal error"}"#);
            with(StatusCode::INTERNAL_SERVER_ERROR, JSON, ReplyBody::Whole(text))
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
            Pieces::new(Outcome {
                stdout: collected.stdout,
                stderr: collected.stderr,
                finish: Finish::Gone,
                usage: Usage { cpu_ms: None, wall_ms: 0, peak_memory_bytes: None },
                output_open: false,
            })
        };
        let bytes = ReplyBody::waiting(work).collect().await.unwrap().to_bytes();
        assert!(bytes.starts_with(b"   {\"status\":\"success\""), "{bytes:?}");
        assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
    }
}
