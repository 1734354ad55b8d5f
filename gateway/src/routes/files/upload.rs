//! Calls with content: upload and create. What comes is passed on and never kept; what came in part leaves nothing.

use super::parameters::{self as parameters, Carries};
use super::patiently;
use crate::api::{CreateFileRequest, Envelope, FileText, Octets, Uploaded, refusals};
use crate::error::ApiResult;
use crate::input::{self, Content, Fields, RequestBody};
use crate::limits;
use crate::reply::{self, Reply};
use crate::routes::Call;
use crate::service::files as service;
use crate::service::life::ready;
use bulkhead_protocol::files::{FileOperation, PathText};
use hyper::{HeaderMap, StatusCode};

/// Permission bits of a new file (contract §7.4).
const MODE: u32 = 0o644;

fn whole(path: PathText) -> FileOperation {
    FileOperation::Upload { path, mode: MODE, limit: limits::MAX_UPLOAD }
}

/// Stores a file: the body as it is, whatever type it has, or the part `file` of a form. Directories above it are made;
/// a file that is there is replaced when the new one is whole.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/upload", operation_id = "uploadFile", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("format" = Option<String>, Query, description = "`tar`: the body is a tar stream, which is unpacked into the directory `path`.", pattern = "^tar$")
    ),
    request_body(content = Octets, content_type = "application/octet-stream", description = "At most 5 GiB."),
    responses(
        (status = 200, body = Envelope<Uploaded>),
        refusals::Keyed, refusals::Bodied, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn upload(mut call: Call, id: &str) -> ApiResult<Reply> {
    let body = std::mem::replace(&mut call.body, RequestBody::Here(Vec::new()));
    let mut content = Content::of(body, &call.headers)?;
    let stored = store(&call, id, &mut content).await;
    if stored.is_err() {
        content.discard().await;
    }
    stored
}

async fn store(call: &Call, id: &str, content: &mut Content) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let path = parameters::path(&call.query, "path")?.text();
    let operation = match parameters::carries(&call.query)? {
        Carries::File => whole(path),
        Carries::Tree => FileOperation::UploadTree { path, limit: limits::MAX_UPLOAD },
    };
    let visit = ready(&call.app, &sandbox).await?;
    let done = service::upload(&call.app, visit, operation, content).await?;
    let size = done.bytes.ok_or_else(service::incomplete)?;
    Ok(reply::json(StatusCode::OK, &Envelope::new("file uploaded", Uploaded { size, entries: done.entries })))
}

/// Makes a file and the directories above it. With content it holds that; without, a file that exists keeps its own.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/create", operation_id = "createFile", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("content" = Option<String>, Query, description = "In place of a body.")
    ),
    request_body = Option<CreateFileRequest>,
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Bodied, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn create(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let path = parameters::path(&call.query, "path")?.text();
    let in_query = input::parameter_bytes(&call.query, "content")?;
    let body = input::read(call.body, &call.app.bodies).await?;
    let in_body = Fields::of_body(&body)?.text("content")?.map(String::into_bytes);
    let app = call.app;
    let visit = ready(&app, &sandbox).await?;
    patiently(async move {
        match in_body.or(in_query) {
            None => drop(service::carry_out(app, visit, FileOperation::Touch { path }).await?),
            Some(bytes) => {
                let mut content = Content::of(RequestBody::Here(bytes), &HeaderMap::new())?;
                drop(service::upload(&app, visit, whole(path), &mut content).await?);
            }
        }
        Ok(reply::json(StatusCode::OK, &Envelope::new("ok", FileText::new(String::new()))))
    })
    .await
}
