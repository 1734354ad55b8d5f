//! Reads a request's body. A small one is just read: all of them together are bounded by the connections.
//! Room for a large one is reserved first, so that many at once wait for one another instead of filling the
//! memory, and a client that holds large ones back delays no small one.

use crate::error::{ApiError, ApiResult};
use crate::limits;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Bytes of all large bodies that are being read or looked at, counted in KiB.
#[derive(Debug)]
pub(crate) struct BodyBudget(Arc<Semaphore>);

impl Default for BodyBudget {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(limits::BODY_BUDGET >> 10)))
    }
}

fn too_large() -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, format!("body: is longer than {} bytes", limits::MAX_BODY))
}

/// A request's body.
#[derive(Debug)]
pub(crate) enum RequestBody {
    /// Still to be read.
    Coming(Incoming),
    /// Read already, by who had to look at it before its handler.
    Here(Vec<u8>),
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        Self::Coming(body)
    }
}

/// The whole body.
pub(crate) async fn read(body: impl Into<RequestBody>, budget: &BodyBudget) -> ApiResult<Vec<u8>> {
    let body = match body.into() {
        RequestBody::Coming(body) => body,
        RequestBody::Here(bytes) => return Ok(bytes),
    };
    let late = || ApiError::new(StatusCode::REQUEST_TIMEOUT, "body: did not come in time");
    tokio::time::timeout(limits::BODY_TIMEOUT, collect(body, budget)).await.unwrap_or_else(|_| Err(late()))
}

async fn collect(mut body: Incoming, budget: &BodyBudget) -> ApiResult<Vec<u8>> {
    let most = u64::try_from(limits::MAX_BODY).unwrap_or(u64::MAX);
    let hint = body.size_hint();
    if hint.lower() > most {
        return Err(too_large());
    }
    let room = hint.upper().unwrap_or(most).min(most).div_ceil(1 << 10);
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    let mut reserved = None;
    let mut all = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::bad_request("body: ended early or is malformed"))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = all.len() + data.len();
        if length > limits::MAX_BODY {
            return Err(too_large());
        }
        if length > limits::SMALL_BODY && reserved.is_none() {
            reserved = Some(budget.0.acquire_many(room).await.map_err(ApiError::internal)?);
        }
        all.extend_from_slice(&data);
    }
    drop(reserved);
    Ok(all)
}
