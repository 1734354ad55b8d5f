//! `GET /sandboxes/{id}/files/download`: a file, a part of it, or a directory as a tar stream. The content is a
//! tenant's and may be a page: no browser may make one of it.

use super::parameters::{self as parameters, Carries};
use super::range::{Wanted, wanted};
use crate::api::{Octets, refusals};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::registry::Sandbox;
use crate::reply::{self, Files, Form, Reply, ReplyBody};
use crate::routes::Call;
use crate::service::files::{self as service, Begun, Feed};
use crate::service::life::ready;
use bulkhead_protocol::files::{FileFailure, FileOperation, PathText};
use hyper::StatusCode;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, HeaderMap, HeaderValue,
};
use std::fmt::Write;
use std::sync::Arc;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const TAR: HeaderValue = HeaderValue::from_static("application/x-tar");

/// The bytes of a file; with `Range` one range of them. A failure in the middle closes the connection.
#[utoipa::path(
    get, path = "/sandboxes/{id}/files/download", operation_id = "downloadFile", tag = "files",
    params(
        ("id" = String, Path),
        ("path" = String, Query, description = "Absolute.", min_length = 1, max_length = 4095),
        ("format" = Option<String>, Query, description = "`tar`: the directory `path` as a tar stream.", pattern = "^tar$"),
        ("Range" = Option<String>, Header, description = "One range of bytes; anything else is ignored.")
    ),
    responses(
        (status = 200, content((Octets = "application/octet-stream"), (Octets = "application/x-tar"))),
        (status = 206, body = Octets, content_type = "application/octet-stream", description = "The range."),
        refusals::Keyed, refusals::Reached, refusals::Ranged
    )
)]
pub(crate) async fn download(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let path = parameters::path(&call.query, "path")?;
    match parameters::carries(&call.query)? {
        Carries::Tree => {
            let visit = ready(&call.app, &sandbox).await?;
            let operation = FileOperation::DownloadTree { path: path.text() };
            let (feed, _) = service::open(&call.app, visit, operation).await?;
            let reply = reply::with(StatusCode::OK, TAR, body(feed, Form::Stream));
            Ok(attached(reply, &[base(&path.bytes), b".tar"].concat()))
        }
        Carries::File => {
            let asked = File { app: &call.app, sandbox: &sandbox, path: path.text() };
            let reply = asked.answer(wanted(&call.headers)).await?;
            Ok(attached(reply, base(&path.bytes)))
        }
    }
}

/// The file that is asked for.
struct File<'a> {
    app: &'a Arc<App>,
    sandbox: &'a Arc<Sandbox>,
    path: PathText,
}

type Range = (u64, Option<u64>);

impl File<'_> {
    async fn answer(&self, wanted: Wanted) -> ApiResult<Reply> {
        let range = match wanted {
            Wanted::All => {
                let (feed, size) = self.whole().await?;
                return Ok(reply::with(StatusCode::OK, OCTETS, body(feed, Form::Exact(size))));
            }
            Wanted::From(first, last) => (first, last),
            // The worker knows no such range: its file may have another size by then, and is then another file.
            Wanted::Last(count) => {
                let (_, size) = self.whole().await?;
                if count == 0 || size == 0 {
                    return Ok(unsatisfied(size));
                }
                (size - count.min(size), Some(size - 1))
            }
        };
        match self.begin(Some(range)).await? {
            Begun::Feed(feed, size) => partial(feed, range, size.ok_or_else(service::incomplete)?),
            Begun::Failed(FileFailure::Range) => self.whole().await.map(|(_, size)| unsatisfied(size)),
            Begun::Failed(failure) => Err(service::refusal(&self.operation(None), failure)),
        }
    }

    async fn whole(&self) -> ApiResult<(Box<Feed>, u64)> {
        match self.begin(None).await? {
            Begun::Feed(feed, size) => Ok((feed, size.ok_or_else(service::incomplete)?)),
            Begun::Failed(failure) => Err(service::refusal(&self.operation(None), failure)),
        }
    }

    async fn begin(&self, range: Option<Range>) -> ApiResult<Begun> {
        let visit = ready(self.app, self.sandbox).await?;
        let call = service::call(&visit, self.operation(range));
        service::begin(self.app, visit, &call).await
    }

    fn operation(&self, range: Option<Range>) -> FileOperation {
        FileOperation::Download { path: self.path.clone(), range }
    }
}

fn body(feed: Box<Feed>, form: Form) -> ReplyBody {
    ReplyBody::Files(Box::new(Files::new(feed, None, form)))
}

fn partial(feed: Box<Feed>, (first, last): Range, size: u64) -> ApiResult<Reply> {
    let end = last.map_or(size, |last| size.min(last.saturating_add(1)));
    let Some(length) = end.checked_sub(first).filter(|length| *length > 0) else {
        return Err(feed.malformed("a range that its file does not have"));
    };
    let mut reply = reply::with(StatusCode::PARTIAL_CONTENT, OCTETS, body(feed, Form::Exact(length)));
    let text = format!("bytes {first}-{}/{size}", end - 1);
    let value = HeaderValue::from_str(&text).map_err(ApiError::internal)?;
    reply.headers_mut().insert(CONTENT_RANGE, value);
    Ok(reply)
}

fn unsatisfied(size: u64) -> Reply {
    let error = ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "Range: is not within the file");
    let mut reply = reply::refuse(&error);
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        reply.headers_mut().insert(CONTENT_RANGE, value);
    }
    reply
}

/// The last name of a path.
fn base(path: &[u8]) -> &[u8] {
    path.split(|byte| *byte == b'/').rfind(|name| !name.is_empty()).unwrap_or(b"root")
}

/// Says that this is a file to keep, and its name.
fn attached(mut reply: Reply, name: &[u8]) -> Reply {
    let headers: &mut HeaderMap = reply.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&disposition(name)) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    reply
}

/// RFC 6266: a name of plain characters, and the exact one as RFC 8187 encodes it.
fn disposition(name: &[u8]) -> String {
    let mut text = "attachment; filename=\"".to_owned();
    for byte in name {
        let plain = (b' '..=b'~').contains(byte) && !matches!(byte, b'"' | b'\\' | b'%');
        text.push(if plain { char::from(*byte) } else { '_' });
    }
    text.push_str("\"; filename*=UTF-8''");
    for byte in String::from_utf8_lossy(name).bytes() {
        if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
            text.push(char::from(byte));
        } else if write!(text, "%{byte:02X}").is_err() {
            // A string takes whatever is written.
            return "attachment".to_owned();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_header() {
        for (name, expected) in [
            (&b"a b.txt"[..], "attachment; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt"),
            (b"a\"\r\nX: y", "attachment; filename=\"a___X: y\"; filename*=UTF-8''a%22%0D%0AX%3A%20y"),
            ("\u{20ac}".as_bytes(), "attachment; filename=\"___\"; filename*=UTF-8''%E2%82%AC"),
            (b"\xff", "attachment; filename=\"_\"; filename*=UTF-8''%EF%BF%BD"),
        ] {
            assert_eq!(disposition(name), expected);
            assert!(HeaderValue::from_str(&disposition(name)).is_ok());
        }
    }

    #[test]
    fn the_name_of_a_path_is_its_last() {
        for (path, name) in [("/a/b", "b"), ("/a/b//", "b"), ("/", "root")] {
            assert_eq!(base(path.as_bytes()), name.as_bytes());
        }
    }
}
