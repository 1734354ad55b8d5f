//! Calls that change nothing: list, stat, du, search, head-tail.

use super::parameters::{self as parameters, HOME};
use super::{patiently, told};
use crate::agent_client::{Piece, entry};
use crate::api::{Envelope, FileList, FileStat, FileText, human, refusals};
use crate::error::{ApiError, ApiResult};
use crate::input::Switch;
use crate::reply::{self, Ends, Entries, Files, Form, Reply, ReplyBody, Text};
use crate::routes::Call;
use crate::service::files as service;
use crate::service::life::ready;
use bulkhead_protocol::files::{End, FileOperation, MAX_DEPTH, MAX_FOUND, MAX_LINES, MAX_PATH, MAX_TEXT};

/// Lines of head-tail where the client says nothing (contract §7).
const LINES: u32 = 10;

/// Answers with what a worker says, once its first word shows that it can.
async fn told_as_it_comes(call: Call, id: &str, operation: FileOperation, form: Form) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let app = call.app;
    let visit = ready(&app, &sandbox).await?;
    patiently(async move {
        let (mut feed, _) = service::open(&app, visit, operation.clone()).await?;
        let first = feed.piece().await?;
        if let Piece::Done(done) = &first
            && let Some(failure) = done.failure
        {
            return Err(service::refusal(&operation, failure));
        }
        Ok(reply::stream(ReplyBody::Files(Box::new(Files::new(feed, Some(first), form)))))
    })
    .await
}

/// The entries of a directory, in no order, as they are found.
#[utoipa::path(
    get, path = "/sandboxes/{id}/files", operation_id = "listFiles", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = Option<String>, Query, description = "A directory, absolute; `/root` where absent. Percent-encoded bytes, which need not be UTF-8.", min_length = 1, max_length = 4095),
        ("recursive" = Option<bool>, Query, description = "Entries of directories below as well."),
        ("depth" = Option<u32>, Query, description = "How deep; 1 is the directory's own entries. Brought into its bounds.")
    ),
    responses(
        (status = 200, body = Envelope<FileList>),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn list(call: Call, id: &str) -> ApiResult<Reply> {
    let path = parameters::path_or(&call.query, "path", HOME)?.text();
    let depth = parameters::number(&call.query, "depth", 1..=MAX_DEPTH)?;
    let depth = match (depth, parameters::switch(&call.query, "recursive", Switch::Off)?) {
        (Some(depth), _) => depth,
        (None, Switch::On) => MAX_DEPTH,
        (None, Switch::Off) => 1,
    };
    told_as_it_comes(call, id, FileOperation::List { path, depth }, Form::Entries(Entries::default())).await
}

/// What a file is; of a link the link itself. `stdout` is JSON (schema `FileStat`).
#[utoipa::path(
    get, path = "/sandboxes/{id}/files/stat", operation_id = "statFile", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn stat(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let path = parameters::path(&call.query, "path")?.text();
    told(call.app, sandbox, FileOperation::Stat { path }, |done| {
        let line = serde_json::to_vec(&done.stat.ok_or_else(service::incomplete)?);
        let (path, entry) = entry(&line.map_err(ApiError::internal)?)
            .map_err(|error| service::incomplete().because(error))?;
        serde_json::to_string(&FileStat::new(&path, &entry)).map_err(ApiError::internal)
    })
    .await
}

/// Bytes on disk of a file or of everything in a directory: size, a tab and the path, as du(1) with `-sh` says it.
#[utoipa::path(
    get, path = "/sandboxes/{id}/files/du", operation_id = "diskUsage", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = Option<String>, Query, description = "Absolute; `/root` where absent.", min_length = 1, max_length = 4095)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn disk_usage(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let path = parameters::path_or(&call.query, "path", HOME)?;
    told(call.app, sandbox, FileOperation::DiskUsage { path: path.text() }, move |done| {
        let bytes = done.bytes.ok_or_else(service::incomplete)?;
        Ok(format!("{}\t{}\n", human(bytes), String::from_utf8_lossy(&path.bytes)))
    })
    .await
}

/// Regular files below a directory whose name fits, one path on each line, at most 1000. A pattern with `*`, `?` or `[`
/// is for the whole name; one without is for a part of it.
#[utoipa::path(
    get, path = "/sandboxes/{id}/files/search", operation_id = "searchFiles", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = Option<String>, Query, description = "A directory, absolute; `/root` where absent.", min_length = 1, max_length = 4095),
        ("pattern" = String, Query, min_length = 1, max_length = 1024)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn search(call: Call, id: &str) -> ApiResult<Reply> {
    let path = parameters::path_or(&call.query, "path", HOME)?.text();
    let pattern = parameters::pattern(&call.query)?;
    let most = u64::from(MAX_FOUND) * u64::try_from(MAX_PATH).unwrap_or(u64::MAX);
    let operation = FileOperation::Search { path, pattern, limit: MAX_FOUND };
    told_as_it_comes(call, id, operation, Form::Text(Text::new(most, Ends::Nuls))).await
}

/// The first or last lines of a file; bytes that are no UTF-8 are replaced.
#[utoipa::path(
    get, path = "/sandboxes/{id}/files/head-tail", operation_id = "headTail", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("lines" = Option<i64>, Query, description = "10 where absent; brought between 1 and 10,000."),
        ("head" = Option<bool>, Query, description = "`false`: the last lines.")
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached
    )
)]
pub(crate) async fn head_tail(call: Call, id: &str) -> ApiResult<Reply> {
    let path = parameters::path(&call.query, "path")?.text();
    let lines = parameters::number(&call.query, "lines", 1..=MAX_LINES)?.unwrap_or(LINES);
    let end = match parameters::switch(&call.query, "head", Switch::On)? {
        Switch::On => End::Head,
        Switch::Off => End::Tail,
    };
    let operation = FileOperation::HeadTail { path, lines, end };
    told_as_it_comes(call, id, operation, Form::Text(Text::new(MAX_TEXT, Ends::Lines))).await
}
