//! `/sandboxes/{id}/session-exec` and `…/session-exec-stream` (contract §8), without an envelope.

use super::Call;
use crate::api::{SessionRequest, SessionResult, SessionStreamRequest, refusals};
use crate::error::{ApiError, ApiResult};
use crate::input::{self, Fields};
use crate::limits;
use crate::reply::{self, Lines, Reply, ReplyBody};
use crate::routes::Session;
use crate::routes::pty::side;
use crate::service::life::ready;
use crate::service::session::{self as service, Word};
use bulkhead_protocol::agent::MAX_SCRIPT;
use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::HeaderValue;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Answers one call.
pub(crate) async fn answer(call: Call, id: &str, session: Session) -> ApiResult<Reply> {
    match session {
        Session::Exec => exec(call, id).await,
        Session::Stream => stream(call, id).await,
    }
}

/// Starts, uses or ends a shell that keeps its state between commands.
#[utoipa::path(
    post, path = "/sandboxes/{id}/session-exec", operation_id = "sessionExec", tag = "exec",
    params(("id" = String, Path)),
    request_body = SessionRequest,
    responses(
        (status = 200, body = SessionResult),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn exec(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let app = call.app;
    let body = input::read(call.body, &app.bodies).await?;
    let mut fields = Fields::of_body(&body)?;
    let action = fields.text("action")?.ok_or_else(|| fields.refuse("action", "is required"))?;
    let session_id = match (name(&mut fields)?, action.as_str()) {
        (Some(name), _) => name,
        (None, "create") => service::name()?,
        (None, _) => return Err(fields.refuse("sessionId", "is required")),
    };
    let mut result = SessionResult { success: true, session_id, ..SessionResult::default() };
    let name = result.session_id.as_str();
    match action.as_str() {
        "create" => {
            let shell = shell(&mut fields)?;
            let size = size(&mut fields)?.unwrap_or((limits::COLS_DEFAULT, limits::ROWS_DEFAULT));
            let script = service::script(name, &shell, size);
            let visit = ready(&app, &sandbox).await?;
            if !service::is_program(&app, &visit, &shell).await? {
                return Err(ApiError::field("shell", "there is no such program"));
            }
            service::create(&app, &visit, name, script).await?;
        }
        "exec" => {
            let job = job(&mut fields)?;
            let visit = ready(&app, &sandbox).await?;
            let session = service::find(&app, &visit, name).await?;
            let words = service::run(app, visit, session, job);
            collect(words, &mut result).await?;
        }
        "input" => {
            let text = fields.text("input")?.ok_or_else(|| fields.refuse("input", "is required"))?;
            if text.len() > limits::MAX_TYPED {
                return Err(
                    fields.refuse("input", format_args!("is longer than {} bytes", limits::MAX_TYPED))
                );
            }
            let visit = ready(&app, &sandbox).await?;
            service::input(&app, &visit, name, text).await?;
        }
        "resize" => {
            let (cols, rows) = size(&mut fields)?.ok_or_else(|| fields.refuse("cols", "is required"))?;
            let visit = ready(&app, &sandbox).await?;
            let session = service::find(&app, &visit, name).await?;
            // It has no terminal: what asks for a size asks these.
            let time = Duration::from_secs(limits::SESSION_DEFAULT_SECONDS);
            // Nothing that anybody ran: `$?` stays what it was.
            let script = format!(r#"eval "export COLUMNS={cols} LINES={rows}; (exit $?)" && :"#);
            let job = (script, time);
            let words = service::run(app, visit, session, job);
            collect(words, &mut result).await?;
            (result.output, result.exit_code) = (None, None);
        }
        "close" => {
            let visit = ready(&app, &sandbox).await?;
            service::close(&app, &visit, name).await?;
        }
        _ => return Err(fields.refuse("action", "must be create, exec, input, resize or close")),
    }
    Ok(reply::json(StatusCode::OK, &result))
}

/// Runs a command in a session; its output comes as lines of JSON.
#[utoipa::path(
    post, path = "/sandboxes/{id}/session-exec-stream", operation_id = "sessionExecStream", tag = "exec",
    params(("id" = String, Path)),
    request_body = SessionStreamRequest,
    responses(
        (status = 200, content_type = "application/x-ndjson", body = String,
            description = "Lines: stdout and stderr with data, and last exit with exitCode, or error with data"),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn stream(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let app = call.app;
    let body = input::read(call.body, &app.bodies).await?;
    let mut fields = Fields::of_body(&body)?;
    let name = name(&mut fields)?.ok_or_else(|| fields.refuse("sessionId", "is required"))?;
    let job = job(&mut fields)?;
    let visit = ready(&app, &sandbox).await?;
    let session = service::find(&app, &visit, &name).await?;
    let lines = Lines::new(service::run(app, visit, session, job));
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(reply::with(StatusCode::OK, kind, ReplyBody::Lines(Box::new(lines))))
}

fn name(fields: &mut Fields) -> ApiResult<Option<String>> {
    let Some(name) = fields.text("sessionId")?.filter(|name| !name.is_empty()) else { return Ok(None) };
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    if plain && name.len() <= limits::MAX_SESSION_NAME {
        Ok(Some(name))
    } else {
        Err(fields.refuse("sessionId", "must have from 1 to 100 letters, digits, _, . or -"))
    }
}

fn shell(fields: &mut Fields) -> ApiResult<String> {
    match fields.text("shell")?.filter(|shell| !shell.is_empty()) {
        None => Ok("bash".to_owned()),
        Some(shell) if shell.contains('\0') || shell.len() > limits::MAX_CWD => {
            Err(fields.refuse("shell", "must be the name or path of a program"))
        }
        Some(shell) => Ok(shell),
    }
}

/// Both sides, or none.
fn size(fields: &mut Fields) -> ApiResult<Option<(u16, u16)>> {
    match (side(fields, "cols", &limits::COLS)?, side(fields, "rows", &limits::ROWS)?) {
        (Some(cols), Some(rows)) => Ok(Some((cols, rows))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(fields.refuse("rows", "is required")),
        (None, Some(_)) => Err(fields.refuse("cols", "is required")),
    }
}

fn job(fields: &mut Fields) -> ApiResult<(String, Duration)> {
    let command = fields.text("command")?.ok_or_else(|| fields.refuse("command", "is required"))?;
    if command.trim().is_empty() {
        return Err(fields.refuse("command", "must not be empty"));
    }
    if command.contains('\0') {
        return Err(fields.refuse("command", "must not contain a NUL character"));
    }
    if command.len() > MAX_SCRIPT {
        return Err(fields.refuse("command", format_args!("is longer than {MAX_SCRIPT} bytes")));
    }
    let seconds = fields.whole("timeout", &limits::SESSION_SECONDS)?;
    Ok((command, Duration::from_secs(seconds.unwrap_or(limits::SESSION_DEFAULT_SECONDS))))
}

/// Waits for the end of a command.
async fn collect(mut words: Receiver<Word>, result: &mut SessionResult) -> ApiResult<()> {
    let (mut output, mut cut) = (Vec::new(), 0_u64);
    let end = loop {
        match words.recv().await {
            Some(Word::Output(_, bytes)) => {
                let room = limits::SESSION_OUTPUT - output.len();
                let (fits, rest) = bytes.split_at(bytes.len().min(room));
                output.extend_from_slice(fits);
                cut = cut.saturating_add(u64::try_from(rest.len()).unwrap_or(u64::MAX));
            }
            Some(Word::Exit(code)) => break code,
            Some(Word::Timeout) => {
                result.success = false;
                result.error = Some("the time was up; the session was ended");
                break 124;
            }
            Some(Word::Failed(error)) => return Err(error),
            None => return Err(ApiError::internal("a command without an end")),
        }
    };
    result.exit_code = Some(end);
    result.truncated = (cut > 0).then_some(cut);
    result.output = Some(String::from_utf8_lossy(&Bytes::from(output)).into_owned());
    Ok(())
}
