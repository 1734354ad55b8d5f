//! `/sandboxes/{id}/pty…`: terminals over HTTP (contract §6.1), and the doors to their WebSockets.

pub(crate) mod socket;

use super::Call;
use crate::api::{
    Done, Envelope, PtyBuffer, PtyCreated, PtyRequest, PtySession, PtySessions, SizeRequest, TypeRequest,
    instant, refusals,
};
use crate::error::{ApiError, ApiResult};
use crate::input::{self, Fields};
use crate::limits;
use crate::reply::{self, JSON, Reply, ReplyBody};
use crate::routes::{Pty, program};
use crate::sandbox::Surroundings;
use crate::service::life::ready;
use crate::service::pty::{self as service, buffer, session_id};
use crate::store::now_us;
use bulkhead_protocol::agent::{ExecutionSpec, ExecutionStatus, Hold, Program, Size, Stdio};
use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::SemaphorePermit;

/// Answers one call.
pub(crate) async fn answer(call: Call, id: &str, pty: Pty<'_>) -> ApiResult<Reply> {
    match pty {
        Pty::Ephemeral => socket::ephemeral(call, id).await,
        Pty::Attach(sid) => socket::session(call, id, sid).await,
        Pty::Create => create(call, id).await,
        Pty::List => list(&call, id).await,
        Pty::Delete(sid) => delete(&call, id, sid).await,
        Pty::Execute(sid) => execute(call, id, sid).await,
        Pty::Buffer(sid) => buffer(&call, id, sid).await,
        Pty::Resize(sid) => resize(call, id, sid).await,
    }
}

/// Starts a session; its shell runs at once, whether a client comes or not.
#[utoipa::path(
    post, path = "/sandboxes/{id}/pty/sessions", operation_id = "createPtySession", tag = "pty",
    params(("id" = String, Path)),
    request_body = Option<PtyRequest>,
    responses(
        (status = 200, body = Envelope<PtyCreated>),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn create(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let body = input::read(call.body, &call.app.bodies).await?;
    let mut fields = Fields::of_body(&body)?;
    let size = Size {
        cols: side(&mut fields, "cols", &limits::COLS)?.unwrap_or(limits::COLS_DEFAULT),
        rows: side(&mut fields, "rows", &limits::ROWS)?.unwrap_or(limits::ROWS_DEFAULT),
    };
    let user = fields.text("user")?.map(program::user).transpose()?;
    let visit = ready(&call.app, &sandbox).await?;
    let mut outer = sandbox.facts.settings.surroundings();
    outer.user = user.or(outer.user);
    let handle = service::create(&call.app, &visit, &shell(outer, size, Hold::Detached)).await?;
    let data = PtyCreated { session_id: session_id(handle), created_at: instant(now_us()) };
    Ok(reply::json(StatusCode::OK, &Envelope::new("PTY session created", data)))
}

/// A shell on a terminal.
fn shell(outer: Surroundings, size: Size, hold: Hold) -> ExecutionSpec {
    ExecutionSpec {
        program: Program::Shell,
        env: outer.pairs(),
        cwd: outer.cwd,
        user: outer.user,
        stdio: Stdio::Terminal(size),
        hold,
        ..ExecutionSpec::attached(String::new())
    }
}

/// One side of a terminal.
pub(crate) fn side(
    fields: &mut Fields,
    name: &str,
    bounds: &std::ops::RangeInclusive<u64>,
) -> ApiResult<Option<u16>> {
    Ok(fields.whole(name, bounds)?.and_then(|side| u16::try_from(side).ok()))
}

/// The sessions that live.
#[utoipa::path(
    get, path = "/sandboxes/{id}/pty/sessions", operation_id = "listPtySessions", tag = "pty",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<PtySessions>),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn list(call: &Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let visit = ready(&call.app, &sandbox).await?;
    let sessions = service::list(&call.app, &visit).await?.iter().map(row).collect();
    Ok(reply::json(StatusCode::OK, &Envelope::new("PTY sessions", PtySessions { sessions })))
}

fn row(status: &ExecutionStatus) -> PtySession {
    let started_us = i64::try_from(status.started_ms.saturating_mul(1000)).unwrap_or(i64::MAX);
    PtySession {
        id: session_id(status.handle),
        created_at: instant(started_us),
        clients: status.clients,
        alive: true,
    }
}

/// Ends a session and everything that runs in it.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/pty/sessions/{sid}", operation_id = "deletePtySession", tag = "pty",
    params(("id" = String, Path), ("sid" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn delete(call: &Call, id: &str, sid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let visit = ready(&call.app, &sandbox).await?;
    service::delete(&call.app, &visit, sid).await?;
    Ok(done("PTY session deleted"))
}

fn done(message: &'static str) -> Reply {
    reply::json(StatusCode::OK, &Done { status: "success", message })
}

/// Types a line into a session and returns at once.
#[utoipa::path(
    post, path = "/sandboxes/{id}/pty/sessions/{sid}/execute", operation_id = "executePtySessionCommand",
    tag = "pty",
    params(("id" = String, Path), ("sid" = String, Path)),
    request_body = TypeRequest,
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn execute(call: Call, id: &str, sid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let body = input::read(call.body, &call.app.bodies).await?;
    let mut fields = Fields::of_body(&body)?;
    let mut line = fields.text("command")?.ok_or_else(|| fields.refuse("command", "is required"))?;
    if line.is_empty() {
        return Err(fields.refuse("command", "must not be empty"));
    }
    if line.len() > limits::MAX_TYPED {
        return Err(fields.refuse("command", format_args!("is longer than {} bytes", limits::MAX_TYPED)));
    }
    if !line.ends_with('\n') {
        line.push('\n');
    }
    let visit = ready(&call.app, &sandbox).await?;
    service::type_text(&call.app, &visit, sid, &line).await?;
    Ok(done("Command sent"))
}

/// The output of a session, as far as it is kept; bytes that are no UTF-8 are replaced.
#[utoipa::path(
    get, path = "/sandboxes/{id}/pty/sessions/{sid}/buffer", operation_id = "getPtySessionBuffer", tag = "pty",
    params(("id" = String, Path), ("sid" = String, Path)),
    responses(
        (status = 200, body = Envelope<PtyBuffer>),
        refusals::Keyed, refusals::Reached, refusals::Crowded
    )
)]
pub(crate) async fn buffer(call: &Call, id: &str, sid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let visit = ready(&call.app, &sandbox).await?;
    let buffer::Buffer { text, place } = buffer::read(&call.app, &visit, sid).await?;
    let json = serde_json::to_vec(&Envelope::new("PTY buffer", PtyBuffer { output: text }));
    let json = Placed { bytes: json.map_err(ApiError::internal)?, _place: place };
    Ok(reply::with(StatusCode::OK, JSON, ReplyBody::Whole(Bytes::from_owner(json))))
}

/// Bytes that keep their place until they are sent.
struct Placed {
    bytes: Vec<u8>,
    _place: SemaphorePermit<'static>,
}

impl AsRef<[u8]> for Placed {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Gives a session's terminal another size.
#[utoipa::path(
    post, path = "/sandboxes/{id}/pty/sessions/{sid}/resize", operation_id = "resizePtySession", tag = "pty",
    params(("id" = String, Path), ("sid" = String, Path)),
    request_body = SizeRequest,
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn resize(call: Call, id: &str, sid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let body = input::read(call.body, &call.app.bodies).await?;
    let mut fields = Fields::of_body(&body)?;
    let cols = side(&mut fields, "cols", &limits::COLS)?;
    let rows = side(&mut fields, "rows", &limits::ROWS)?;
    let size = Size {
        cols: cols.ok_or_else(|| fields.refuse("cols", "is required"))?,
        rows: rows.ok_or_else(|| fields.refuse("rows", "is required"))?,
    };
    let visit = ready(&call.app, &sandbox).await?;
    service::resize(&call.app, &visit, sid, size).await?;
    Ok(done("PTY session resized"))
}

#[cfg(test)]
mod tests {
    use super::Pty;
    use crate::routes::{Endpoint, Miss, find};
    use hyper::Method;

    #[test]
    fn every_path_has_its_methods() {
        for (method, path, expected) in [
            (Method::GET, "pty", Ok(Pty::Ephemeral)),
            (Method::POST, "pty", Err(Miss::Method("GET"))),
            (Method::GET, "pty/sessions", Ok(Pty::List)),
            (Method::POST, "pty/sessions", Ok(Pty::Create)),
            (Method::GET, "pty/sessions/s", Ok(Pty::Attach("s"))),
            (Method::DELETE, "pty/sessions/s", Ok(Pty::Delete("s"))),
            (Method::POST, "pty/sessions/s", Err(Miss::Method("GET, DELETE"))),
            (Method::POST, "pty/sessions/s/execute", Ok(Pty::Execute("s"))),
            (Method::GET, "pty/sessions/s/buffer", Ok(Pty::Buffer("s"))),
            (Method::POST, "pty/sessions/s/buffer", Err(Miss::Method("GET"))),
            (Method::POST, "pty/sessions/s/resize", Ok(Pty::Resize("s"))),
            (Method::GET, "pty/sessions/s/resize", Err(Miss::Method("POST"))),
            (Method::GET, "pty/sessions/s/x", Err(Miss::Path)),
        ] {
            let path = format!("/api/sandboxes/x/{path}");
            let expected = expected.map(|pty| Endpoint::Pty("x", pty));
            assert_eq!(find(&method, &path).endpoint, expected, "{method} {path}");
        }
    }
}
