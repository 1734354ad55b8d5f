//! Calls that change files and have no body: delete, mkdir, copy, move, chmod, compress, extract.

use super::parameters::{self as parameters};
use super::told;
use crate::api::{Envelope, FileText, refusals};
use crate::error::ApiResult;
use crate::reply::Reply;
use crate::routes::Call;
use bulkhead_protocol::files::{FileDone, FileOperation};

/// Carries out a change, about which there is nothing to say.
async fn silently(call: Call, id: &str, operation: FileOperation) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    told(call.app, sandbox, operation, |_: FileDone| Ok(String::new())).await
}

/// Deletes a file, or a directory with everything in it. What does not exist is deleted already.
#[utoipa::path(
    delete, path = "/sandboxes/{id}/files", operation_id = "deleteFile", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn delete(call: Call, id: &str) -> ApiResult<Reply> {
    let path = parameters::path(&call.query, "path")?.text();
    silently(call, id, FileOperation::Delete { path }).await
}

/// Makes a directory and those above it. One that exists is fine.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/mkdir", operation_id = "createDirectory", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn make_directory(call: Call, id: &str) -> ApiResult<Reply> {
    let path = parameters::path(&call.query, "path")?.text();
    silently(call, id, FileOperation::MakeDirectory { path }).await
}

/// Copies a file, or a directory with everything in it; into `to` where that is a directory.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/copy", operation_id = "copyFile", tag = "files",
    params(
        ("id" = String, Path),
        ("from" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("to" = String, Query, description = "Absolute; directories above it are made.", min_length = 1, max_length = 4095)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn copy(call: Call, id: &str) -> ApiResult<Reply> {
    let from = parameters::path(&call.query, "from")?.text();
    let to = parameters::path(&call.query, "to")?.text();
    silently(call, id, FileOperation::Copy { from, to }).await
}

/// Moves a file or directory; into `to` where that is a directory, in place of a file that is there.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/move", operation_id = "moveFile", tag = "files",
    params(
        ("id" = String, Path),
        ("from" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("to" = String, Query, description = "Absolute; directories above it are made.", min_length = 1, max_length = 4095)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn rename(call: Call, id: &str) -> ApiResult<Reply> {
    let from = parameters::path(&call.query, "from")?.text();
    let to = parameters::path(&call.query, "to")?.text();
    silently(call, id, FileOperation::Move { from, to }).await
}

/// Sets the permission bits of a file or directory.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/chmod", operation_id = "changePermissions", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("mode" = String, Query, pattern = "^[0-7]{3,4}$")
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn chmod(call: Call, id: &str) -> ApiResult<Reply> {
    let path = parameters::path(&call.query, "path")?.text();
    let mode = parameters::mode(&call.query)?;
    silently(call, id, FileOperation::Chmod { path, mode }).await
}

/// Packs a file or directory into `<path>.<format>` beside it. Members are named from the directory above.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/compress", operation_id = "compressFile", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("format" = Option<String>, Query, description = "`tar.gz` where absent.", pattern = "^(tar|tar\\.gz|tar\\.bz2|tar\\.zst|zip)$")
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn compress(call: Call, id: &str) -> ApiResult<Reply> {
    let path = parameters::path(&call.query, "path")?.text();
    let format = parameters::format(&call.query)?;
    silently(call, id, FileOperation::Compress { path, format }).await
}

/// Unpacks an archive into a directory, which is made. Its format is that of its name: `.tar`, `.tar.gz`, `.tgz`,
/// `.tar.bz2`, `.tar.zst` or `.zip`.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/extract", operation_id = "extractArchive", tag = "files",
    params(
        ("id" = String, Path),
        ("archive" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("dest" = Option<String>, Query, description = "Absolute; the archive's directory where absent.", min_length = 1, max_length = 4095)
    ),
    responses(
        (status = 200, body = Envelope<FileText>),
        refusals::Keyed, refusals::Reached, refusals::Stored
    )
)]
pub(crate) async fn extract(call: Call, id: &str) -> ApiResult<Reply> {
    let archive = parameters::path(&call.query, "archive")?;
    let dest = parameters::path_or(&call.query, "dest", parent(&archive.bytes))?.text();
    silently(call, id, FileOperation::Extract { archive: archive.text(), dest }).await
}

/// The directory that an absolute path lies in.
fn parent(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let slash = path[..end].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
    if slash == 0 { b"/" } else { &path[..slash] }
}

#[cfg(test)]
mod tests {
    use super::parent;

    #[test]
    fn the_parent_is_what_is_before_the_last_name() {
        for (path, expected) in
            [("/a/b.tar", "/a"), ("/b.tar", "/"), ("/a/b//", "/a"), ("/", "/"), ("//", "/")]
        {
            assert_eq!(parent(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }
}
