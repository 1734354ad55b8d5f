//! What the routes do, without HTTP: the order of effects between store, registry, runtime and agent.

pub(crate) mod commands;
pub(crate) mod create;
pub(crate) mod destroy;
pub(crate) mod exec;
pub(crate) mod files;
pub(crate) mod images;
pub(crate) mod isolation;
pub(crate) mod keys;
mod launch;
pub(crate) mod leaks;
pub(crate) mod life;
pub(crate) mod live;
mod look;
pub(crate) mod patch;
pub(crate) mod pool;
pub(crate) mod pty;
pub(crate) mod session;
pub(crate) mod stats;
pub(crate) mod sweep;

use crate::error::ApiError;
use crate::runtime_client::CallError;
use bulkhead_protocol::runtime::{RefusalKind, Scarce};
use hyper::StatusCode;

/// What a client learns of a call that the runtime did not carry out.
fn runtime_error(error: CallError) -> ApiError {
    let (status, text) = match &error {
        CallError::Away | CallError::Lost | CallError::Send(_) | CallError::Version(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the runtime is not available")
        }
        CallError::Late(_) => (StatusCode::GATEWAY_TIMEOUT, "the runtime did not answer in time"),
        CallError::Refused { kind: RefusalKind::UnknownImage, .. } => {
            (StatusCode::NOT_FOUND, "image: there is no such image")
        }
        CallError::Refused { kind: RefusalKind::NoRoom(scarce), .. } => {
            (StatusCode::SERVICE_UNAVAILABLE, no_room(*scarce))
        }
        CallError::Refused { .. } | CallError::Unexpected | CallError::Encode(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "the runtime failed")
        }
    };
    ApiError::new(status, text).because(error)
}

/// Which of the host's means is short, in words.
fn no_room(scarce: Scarce) -> &'static str {
    match scarce {
        Scarce::Ids => "there is no room for another sandbox: all ranges of ids are taken",
        Scarce::Memory => "there is no room for another sandbox: the host is short of memory",
        Scarce::Processes => "there is no room for another sandbox: the host is short of processes",
        Scarce::Files => "there is no room for another sandbox: the host is short of open files",
        Scarce::Disk => "there is no room for another sandbox: the host is short of disk",
        Scarce::Pressure => "there is no room for another sandbox: the host is under pressure",
        Scarce::Stopping => "there is no room for another sandbox: the server is stopping",
    }
}
