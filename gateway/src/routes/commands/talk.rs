//! Input and signals for a command that runs.

use super::pid;
use super::signals::signal_number;
use crate::api::{SignalRequest, Signaled, Taken, refusals};
use crate::error::{ApiError, ApiResult};
use crate::input::{Fields, parameter, read};
use crate::reply::{self, Reply};
use crate::routes::Call;
use crate::service::commands::{self as service, Then};
use crate::service::life::ready;
use bulkhead_protocol::agent::MAX_JSON;
use bytes::Bytes;
use hyper::StatusCode;

/// Gives a command input: the body as it is, at most 1 MiB. Answers when the command has taken it.
#[utoipa::path(
    post, path = "/sandboxes/{id}/commands/{pid}/stdin", operation_id = "writeCommandInput", tag = "commands",
    params(
        ("id" = String, Path), ("pid" = u64, Path),
        ("close" = Option<bool>, Query, description = "Whether the input ends with this.")
    ),
    request_body(content = String, content_type = "application/octet-stream"),
    responses(
        (status = 200, body = Taken),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn stdin(call: Call, id: &str, pid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let pid = pid::of_path(pid)?;
    let Call { app, body, query, .. } = call;
    let then = match parameter(&query, "close")?.as_deref() {
        None | Some("false") => Then::MoreInput,
        Some("true" | "") => Then::EndOfInput,
        Some(_) => return Err(ApiError::field("close", "must be true or false")),
    };
    let bytes = Bytes::from(read(body, &app.bodies).await?);
    if bytes.len() > MAX_JSON {
        // As much as an agent takes at once.
        let text = format!("body: is longer than {MAX_JSON} bytes");
        return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let visit = ready(&app, &sandbox).await?;
    let taken = service::input(&app, &visit, pid, (bytes, then)).await?;
    Ok(reply::json(StatusCode::OK, &Taken { success: true, bytes: taken }))
}

/// Sends a signal to all processes of a command.
#[utoipa::path(
    post, path = "/sandboxes/{id}/commands/{pid}/signal", operation_id = "signalCommand", tag = "commands",
    params(("id" = String, Path), ("pid" = u64, Path)), request_body = SignalRequest,
    responses(
        (status = 200, body = Signaled),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn signal(call: Call, id: &str, pid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let pid = pid::of_path(pid)?;
    let Call { app, body, .. } = call;
    let mut fields = Fields::of_body(&read(body, &app.bodies).await?)?;
    let signal = fields.take("signal").ok_or_else(|| ApiError::field("signal", "is required"))?;
    let SignalRequest { signal } = SignalRequest { signal: signal_number(&signal)? };
    let visit = ready(&app, &sandbox).await?;
    service::signal(&app, &visit, pid, signal).await?;
    Ok(reply::json(StatusCode::OK, &Signaled { success: true, message: "the signal was sent" }))
}
