//! `/sandboxes/{id}/files…` (contract §7). Every parameter is in the query; what fails is answered with a status and
//! never with an exit code. The work is done by a worker inside the sandbox.

pub(crate) mod change;
pub(crate) mod download;
pub(crate) mod look;
mod parameters;
mod range;
pub(crate) mod upload;
pub(crate) mod watch;

use super::{Call, Files, Resource};
use crate::api::{Envelope, FileText};
use crate::app::App;
use crate::error::ApiResult;
use crate::limits;
use crate::registry::{Sandbox, Visit};
use crate::reply::{self, Reply, ReplyBody};
use crate::service::files as service;
use crate::service::life::ready;
use bulkhead_protocol::files::{FileDone, FileOperation};
use hyper::StatusCode;
use std::sync::Arc;

/// What a path below `files` names.
pub(super) fn find<'a>(id: &'a str, rest: &[&'a str]) -> Option<(&'static str, Resource<'a>)> {
    let action = |action| Resource::FileAction(id, action);
    Some(match rest {
        [] => ("/sandboxes/{id}/files", Resource::Files(id)),
        ["download"] => ("/sandboxes/{id}/files/download", action(Files::Download)),
        ["upload"] => ("/sandboxes/{id}/files/upload", action(Files::Upload)),
        ["mkdir"] => ("/sandboxes/{id}/files/mkdir", action(Files::MakeDirectory)),
        ["create"] => ("/sandboxes/{id}/files/create", action(Files::Create)),
        ["copy"] => ("/sandboxes/{id}/files/copy", action(Files::Copy)),
        ["move"] => ("/sandboxes/{id}/files/move", action(Files::Move)),
        ["chmod"] => ("/sandboxes/{id}/files/chmod", action(Files::Chmod)),
        ["stat"] => ("/sandboxes/{id}/files/stat", action(Files::Stat)),
        ["du"] => ("/sandboxes/{id}/files/du", action(Files::DiskUsage)),
        ["search"] => ("/sandboxes/{id}/files/search", action(Files::Search)),
        ["head-tail"] => ("/sandboxes/{id}/files/head-tail", action(Files::HeadTail)),
        ["compress"] => ("/sandboxes/{id}/files/compress", action(Files::Compress)),
        ["extract"] => ("/sandboxes/{id}/files/extract", action(Files::Extract)),
        ["watch"] => ("/sandboxes/{id}/files/watch", action(Files::Watch)),
        ["watch", sid, "stream"] => {
            ("/sandboxes/{id}/files/watch/{sid}/stream", action(Files::WatchSocket(sid)))
        }
        _ => return None,
    })
}

/// The method of a call about files.
pub(super) fn method(files: Files<'_>) -> &'static str {
    match files {
        Files::List
        | Files::Download
        | Files::Stat
        | Files::DiskUsage
        | Files::Search
        | Files::HeadTail
        | Files::WatchSocket(_) => "GET",
        Files::Delete => "DELETE",
        Files::Upload
        | Files::MakeDirectory
        | Files::Create
        | Files::Copy
        | Files::Move
        | Files::Chmod
        | Files::Compress
        | Files::Extract
        | Files::Watch => "POST",
    }
}

/// Answers one call.
pub(crate) async fn answer(call: Call, id: &str, files: Files<'_>) -> ApiResult<Reply> {
    match files {
        Files::List => look::list(call, id).await,
        Files::Stat => look::stat(call, id).await,
        Files::DiskUsage => look::disk_usage(call, id).await,
        Files::Search => look::search(call, id).await,
        Files::HeadTail => look::head_tail(call, id).await,
        Files::Delete => change::delete(call, id).await,
        Files::MakeDirectory => change::make_directory(call, id).await,
        Files::Copy => change::copy(call, id).await,
        Files::Move => change::rename(call, id).await,
        Files::Chmod => change::chmod(call, id).await,
        Files::Compress => change::compress(call, id).await,
        Files::Extract => change::extract(call, id).await,
        Files::Create => upload::create(call, id).await,
        Files::Upload => upload::upload(call, id).await,
        Files::Download => download::download(call, id).await,
        Files::Watch => watch::start(call, id).await,
        Files::WatchSocket(sid) => watch::socket(call, id, sid).await,
    }
}

/// Waits for an answer; one that takes long begins with its head (contract §13), and breaks off where it then fails.
async fn patiently(work: impl Future<Output = ApiResult<Reply>> + Send + 'static) -> ApiResult<Reply> {
    let mut work = Box::pin(work);
    if let Ok(reply) = tokio::time::timeout(limits::EXEC_HEADERS, &mut work).await {
        return reply;
    }
    Ok(reply::stream(ReplyBody::waiting(async {
        match work.await {
            Ok(reply) => reply.into_body(),
            Err(error) => {
                tracing::debug!(status = error.status.as_u16(), "a long file operation failed");
                ReplyBody::Broken
            }
        }
    })))
}

/// Carries out an operation without content, and makes text of its end.
async fn told(
    app: Arc<App>,
    sandbox: Arc<Sandbox>,
    operation: FileOperation,
    text: impl FnOnce(FileDone) -> ApiResult<String> + Send + 'static,
) -> ApiResult<Reply> {
    let visit: Visit = ready(&app, &sandbox).await?;
    patiently(async move {
        let done = service::carry_out(app, visit, operation).await?;
        Ok(reply::json(StatusCode::OK, &Envelope::new("ok", FileText::new(text(done)?))))
    })
    .await
}

#[cfg(test)]
mod tests {
    use crate::routes::{Endpoint, Files, Miss, find};
    use hyper::Method;

    #[test]
    fn every_path_has_its_method() {
        for (method, path, expected) in [
            (Method::GET, "files", Ok(Files::List)),
            (Method::DELETE, "files", Ok(Files::Delete)),
            (Method::POST, "files", Err(Miss::Method("GET, DELETE"))),
            (Method::GET, "files/download", Ok(Files::Download)),
            (Method::HEAD, "files/download", Err(Miss::Method("GET"))),
            (Method::POST, "files/upload", Ok(Files::Upload)),
            (Method::PUT, "files/upload", Err(Miss::Method("POST"))),
            (Method::POST, "files/mkdir", Ok(Files::MakeDirectory)),
            (Method::POST, "files/create", Ok(Files::Create)),
            (Method::POST, "files/copy", Ok(Files::Copy)),
            (Method::POST, "files/move", Ok(Files::Move)),
            (Method::POST, "files/chmod", Ok(Files::Chmod)),
            (Method::GET, "files/stat", Ok(Files::Stat)),
            (Method::GET, "files/du", Ok(Files::DiskUsage)),
            (Method::GET, "files/search", Ok(Files::Search)),
            (Method::GET, "files/head-tail", Ok(Files::HeadTail)),
            (Method::POST, "files/compress", Ok(Files::Compress)),
            (Method::POST, "files/extract", Ok(Files::Extract)),
            (Method::POST, "files/watch", Ok(Files::Watch)),
            (Method::GET, "files/watch", Err(Miss::Method("POST"))),
            (Method::GET, "files/watch/s/stream", Ok(Files::WatchSocket("s"))),
            (Method::GET, "files/watch/s", Err(Miss::Path)),
            (Method::GET, "files/x", Err(Miss::Path)),
        ] {
            let path = format!("/api/sandboxes/x/{path}");
            let expected = expected.map(|files| Endpoint::Files("x", files));
            assert_eq!(find(&method, &path).endpoint, expected, "{method} {path}");
        }
    }
}
