//! A request's body as it comes, for what is stored and not looked at: nothing is kept of it, and nothing is read
//! before it is asked for, so a client that asks whether to go on hears it then.

use super::RequestBody;
use super::form::{Form, Step};
use crate::error::{ApiError, ApiResult};
use crate::limits;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, EXPECT};
use hyper::{HeaderMap, StatusCode};
use tokio::time::timeout;

/// What of a body has not been read.
#[derive(Debug)]
pub(crate) struct Content {
    rest: Rest,
    read: u64,
    /// Takes the file out of a form.
    form: Option<Form>,
    sender: Sender,
}

#[derive(Debug)]
enum Rest {
    Coming(Incoming),
    Here(Bytes),
}

/// What a client does that has not heard from us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    Writes,
    Waits,
}

fn too_large() -> ApiError {
    let text = format!("body: is longer than {} bytes", limits::MAX_UPLOAD);
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text)
}

impl Content {
    /// The content of a body, whatever type it says it has, but for the file of a form. One that says it is too long
    /// is refused at once.
    pub(crate) fn of(body: RequestBody, headers: &HeaderMap) -> ApiResult<Self> {
        let rest = match body {
            RequestBody::Coming(body) if body.size_hint().lower() > limits::MAX_UPLOAD => {
                return Err(too_large());
            }
            RequestBody::Coming(body) => Rest::Coming(body),
            RequestBody::Here(bytes) => Rest::Here(Bytes::from(bytes)),
        };
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let sender = if headers.contains_key(EXPECT) { Sender::Waits } else { Sender::Writes };
        Ok(Self { rest, read: 0, form: Form::of(kind)?, sender })
    }

    /// Bytes that will come at least, as far as the client says.
    pub(crate) fn least(&self) -> u64 {
        match &self.rest {
            Rest::Coming(body) => body.size_hint().lower(),
            Rest::Here(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        }
    }

    /// The next bytes; `None` at the end. Cancel-safe but for its deadline.
    pub(crate) async fn next(&mut self) -> ApiResult<Option<Bytes>> {
        loop {
            if let Some(form) = &mut self.form
                && let Step::Content(bytes) = form.next()?
            {
                return Ok(Some(bytes));
            }
            let bytes = self.read().await?;
            match (&mut self.form, bytes) {
                (None, bytes) => return Ok(bytes),
                (Some(form), Some(bytes)) => form.push(&bytes),
                (Some(form), None) => return form.ended().map(|()| None),
            }
        }
    }

    async fn read(&mut self) -> ApiResult<Option<Bytes>> {
        let late = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body: did not come in time");
        let Some(bytes) = timeout(limits::UPLOAD_STALL, self.rest.next()).await.map_err(late)?? else {
            return Ok(None);
        };
        self.sender = Sender::Writes;
        self.read = self.read.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.read > limits::MAX_UPLOAD { Err(too_large()) } else { Ok(Some(bytes)) }
    }

    /// Throws away what comes for a while: a client that is still writing when the connection is closed does not
    /// hear why.
    pub(crate) async fn discard(mut self) {
        if self.sender == Sender::Waits {
            return;
        }
        let all = async { while let Ok(Some(_)) = self.rest.next().await {} };
        // Whoever has more to send than fits into this time is cut.
        drop(timeout(limits::UPLOAD_REST, all).await);
    }
}

impl Rest {
    async fn next(&mut self) -> ApiResult<Option<Bytes>> {
        match self {
            Self::Here(bytes) => Ok(Some(std::mem::take(bytes)).filter(|bytes| !bytes.is_empty())),
            Self::Coming(body) => loop {
                let Some(frame) = body.frame().await else { return Ok(None) };
                let frame = frame.map_err(|_| ApiError::bad_request("body: ended early or is malformed"))?;
                if let Ok(data) = frame.into_data()
                    && !data.is_empty()
                {
                    return Ok(Some(data));
                }
            },
        }
    }
}
