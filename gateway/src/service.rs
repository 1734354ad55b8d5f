//! What the routes do, without HTTP: the order of effects between store, registry, runtime and agent.

pub(crate) mod commands;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod exec;
pub(crate) mod isolation;
pub(crate) mod live;
pub(crate) mod pty;
pub(crate) mod session;

use crate::error::ApiError;
use crate::runtime_client::CallError;
use bulkhead_protocol::runtime::RefusalKind;
use hyper::StatusCode;

/// What a client learns of a call that the runtime did not carry out.
fn runtime_error(error: CallError) -> ApiError {
    let (status, text) = match &error {
        CallError::Away | CallError::Lost | CallError::Send(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the runtime is not available")
        }
        CallError::Late(_) => (StatusCode::GATEWAY_TIMEOUT, "the runtime did not answer in time"),
        CallError::Refused { kind: RefusalKind::UnknownImage, .. } => {
            (StatusCode::NOT_FOUND, "image: there is no such image")
        }
        CallError::Refused { kind: RefusalKind::NoRoom(_), .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, "there is no room for another sandbox")
        }
        CallError::Refused { .. } | CallError::Unexpected | CallError::Encode(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the runtime failed")
        }
    };
    ApiError::new(status, text).because(error)
}
