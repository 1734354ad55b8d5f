//! `POST /sandboxes/{id}/exec` and `exec-stream`: one script, its output at the end or as it comes, its end.

use super::Call;
use super::program::{self, Key, Manner};
use crate::api::{Envelope, ExecData, ExecRequest, OnDisconnect, Started, StreamEvent, refusals};
use crate::error::{ApiError, ApiResult};
use crate::input::{self, Fields, Switch};
use crate::limits;
use crate::reply::{self, Pieces, Reply, ReplyBody};
use crate::service::life::ready;
use crate::service::{commands, exec as service, live};
use crate::sse::Encoding;
use bulkhead_protocol::agent::{Hold, Stdin};
use hyper::StatusCode;

/// Runs a command and waits for its end. Any exit status is a success.
#[utoipa::path(
    post, path = "/sandboxes/{id}/exec", operation_id = "exec", tag = "exec",
    params(
        ("id" = String, Path),
        ("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key runs once, and goes on when its client goes away.", min_length = 1, max_length = 255)
    ),
    request_body = ExecRequest,
    responses(
        (status = 200, body = ExecAnswer),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn exec(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let Call { app, body, headers, .. } = call;
    let key = Key::read(&headers, &sandbox, "exec")?;
    let body = input::read(body, &app.bodies).await?;
    let request = program::parse(Fields::of_body(&body)?)?;
    drop(body);
    let outer = sandbox.facts.settings.surroundings();
    if request.background == Switch::On {
        let command = request.command.clone();
        let stdin = stdin(request.stdin);
        let job = program::job(request, outer, Manner { hold: Hold::Detached, stdin, key })?;
        let visit = ready(&app, &sandbox).await?;
        let pid = commands::start(&app, &visit, job).await?;
        let started = Started { success: true, pid, command };
        return Ok(reply::json(StatusCode::OK, &Envelope::new("ok", started)));
    }
    let job = program::job(request, outer, Manner { hold: Hold::Attached, stdin: Stdin::Null, key })?;
    let visit = ready(&app, &sandbox).await?;
    let mut work = Box::pin(service::run(app, visit, job));
    match tokio::time::timeout(limits::EXEC_HEADERS, &mut work).await {
        Ok(Ok(outcome)) => Ok(Pieces::new(outcome).reply()),
        Ok(Err(failure)) => Err(failure.error),
        // A client gives up when it hears nothing for 300 s (contract §13).
        Err(_) => Ok(reply::stream(ReplyBody::waiting(async {
            ReplyBody::Pieces(Box::new(match work.await {
                Ok(outcome) => Pieces::new(outcome),
                Err(failure) => Pieces::failed(failure),
            }))
        }))),
    }
}

/// The answer of exec: what came of the command, or with `background` its handle.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum ExecAnswer {
    Ended(Envelope<ExecData>),
    Started(Envelope<Started>),
}

/// Runs a command and streams what it writes.
///
/// Events: `stdout` and `stderr` with text as it is, `gap` with `{"from":N,"to":M}` for bytes that came too
/// late, and last `exit` with one line of JSON (schema `Exit`). The id of an event is the offset to resume from.
#[utoipa::path(
    post, path = "/sandboxes/{id}/exec-stream", operation_id = "execStream", tag = "exec",
    params(
        ("id" = String, Path),
        ("encoding" = Option<String>, Query, description = "`base64`: data is the exact bytes.", pattern = "^(text|base64)$")
    ),
    request_body = ExecRequest,
    responses(
        (status = 200, body = StreamEvent, content_type = "text/event-stream",
         headers(("X-Execution-Pid" = u64, description = "Names the command within its sandbox."))),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn stream(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let Call { app, body, query, .. } = call;
    let encoding = encoding(&query)?;
    let body = input::read(body, &app.bodies).await?;
    let request = program::parse(Fields::of_body(&body)?)?;
    drop(body);
    let hold = match request.on_disconnect {
        OnDisconnect::Kill => Hold::Attached,
        OnDisconnect::Detach => Hold::Detached,
    };
    let manner = Manner { hold, stdin: stdin(request.stdin), key: None };
    let job = program::job(request, sandbox.facts.settings.surroundings(), manner)?;
    let visit = ready(&app, &sandbox).await?;
    let (live, handle) = match hold {
        Hold::Attached => live::attached(app, visit, job).await?,
        Hold::Detached => {
            let handle = commands::start(&app, &visit, job).await?;
            (live::follow(app, visit, handle, 0).await?, handle)
        }
    };
    Ok(reply::events(live, handle, encoding))
}

/// What the query says of the form of events.
pub(super) fn encoding(query: &str) -> ApiResult<Encoding> {
    match input::parameter(query, "encoding")?.as_deref() {
        None | Some("text") => Ok(Encoding::Text),
        Some("base64") => Ok(Encoding::Base64),
        Some(_) => Err(ApiError::field("encoding", "must be text or base64")),
    }
}

pub(super) fn stdin(switch: Switch) -> Stdin {
    match switch {
        Switch::On => Stdin::Open,
        Switch::Off => Stdin::Null,
    }
}
