//! What a client learns of an operation that failed: the parameter it is about, and a status.

use crate::error::ApiError;
use bulkhead_protocol::files::{FileFailure, FileOperation};
use hyper::StatusCode;

/// The refusal of an operation.
pub(crate) fn refusal(operation: &FileOperation, failure: FileFailure) -> ApiError {
    let (status, text) = meaning(failure);
    match failure {
        FileFailure::Internal => ApiError::new(status, text),
        _ => ApiError::new(status, format!("{}: {text}", blamed(operation, failure))),
    }
}

/// The parameter that a failure is about. Where an operation has two, what is missing or cannot be read is the source;
/// what is in the way or has no room is the target.
fn blamed(operation: &FileOperation, failure: FileFailure) -> &'static str {
    use FileFailure::{Exists, IsDirectory, NoSpace, NotDirectory, ReadOnly};
    let target = matches!(failure, Exists | IsDirectory | NotDirectory | NoSpace | ReadOnly);
    match operation {
        FileOperation::Copy { .. } | FileOperation::Move { .. } if target => "to",
        FileOperation::Copy { .. } | FileOperation::Move { .. } => "from",
        FileOperation::Extract { .. } if target && failure != IsDirectory => "dest",
        FileOperation::Extract { .. } => "archive",
        FileOperation::UploadTree { .. }
            if matches!(failure, FileFailure::BadArchive | FileFailure::Hostile | FileFailure::Bounds) =>
        {
            "body"
        }
        FileOperation::Upload { .. } | FileOperation::UploadTree { .. }
            if failure == FileFailure::TooLarge =>
        {
            "body"
        }
        _ => "path",
    }
}

fn meaning(failure: FileFailure) -> (StatusCode, &'static str) {
    match failure {
        FileFailure::NotFound => (StatusCode::NOT_FOUND, "no such file or directory"),
        FileFailure::NotDirectory => (StatusCode::BAD_REQUEST, "is not a directory"),
        FileFailure::IsDirectory => (StatusCode::BAD_REQUEST, "is a directory"),
        FileFailure::Denied => (StatusCode::FORBIDDEN, "permission denied"),
        FileFailure::Exists => (StatusCode::CONFLICT, "something else is in the way"),
        FileFailure::ReadOnly => (StatusCode::FORBIDDEN, "is on a file system that cannot be written"),
        FileFailure::NoSpace => (StatusCode::INSUFFICIENT_STORAGE, "the disk is full"),
        FileFailure::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "is too large"),
        FileFailure::BadPath => {
            (StatusCode::BAD_REQUEST, "has a name that is too long, or leads in a circle")
        }
        FileFailure::Special => (StatusCode::BAD_REQUEST, "is a device, a socket or a pipe"),
        FileFailure::Impossible => (StatusCode::BAD_REQUEST, "this cannot be done with it"),
        FileFailure::BadArchive => (StatusCode::BAD_REQUEST, "is not an archive that can be read"),
        FileFailure::Hostile => (
            StatusCode::BAD_REQUEST,
            "has names that lead out, or entries that are neither files, directories nor links",
        ),
        FileFailure::Bounds => (
            StatusCode::BAD_REQUEST,
            "has too many entries, is too deep, unpacks to too much or takes too long",
        ),
        FileFailure::Range => (StatusCode::RANGE_NOT_SATISFIABLE, "is shorter than the range"),
        FileFailure::Watches => (StatusCode::TOO_MANY_REQUESTS, "too many watches, or directories to watch"),
        FileFailure::Resources => (StatusCode::TOO_MANY_REQUESTS, "the sandbox is at its limits"),
        FileFailure::Internal => (StatusCode::BAD_GATEWAY, "the sandbox's agent failed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::files::PathText;

    #[test]
    fn a_refusal_names_the_parameter_that_it_is_about() {
        let path = || PathText("L2E=".to_owned());
        let copy = FileOperation::Copy { from: path(), to: path() };
        let extract = FileOperation::Extract { archive: path(), dest: path() };
        let stat = FileOperation::Stat { path: path() };
        let upload = FileOperation::UploadTree { path: path(), limit: 1 };
        for (operation, failure, status, text) in [
            (&copy, FileFailure::NotFound, 404, "from: "),
            (&copy, FileFailure::Exists, 409, "to: "),
            (&extract, FileFailure::BadArchive, 400, "archive: "),
            (&extract, FileFailure::IsDirectory, 400, "archive: "),
            (&extract, FileFailure::NoSpace, 507, "dest: "),
            (&stat, FileFailure::Denied, 403, "path: "),
            (&stat, FileFailure::Internal, 502, "the sandbox's agent failed"),
            (&upload, FileFailure::TooLarge, 413, "body: "),
            (&upload, FileFailure::Hostile, 400, "body: "),
            (&upload, FileFailure::NotDirectory, 400, "path: "),
        ] {
            let error = refusal(operation, failure);
            assert_eq!(error.status.as_u16(), status, "{operation:?} {failure:?}");
            assert!(error.message.starts_with(text), "{operation:?} {failure:?}: {}", error.message);
        }
    }
}
