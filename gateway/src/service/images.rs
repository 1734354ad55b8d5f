//! Images: the runtime has them, and decides whose they are; an archive passes through here unread.

mod archive;

pub(crate) use archive::{Archives, receive};

use super::runtime_error;
use crate::api::image_id;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::news::Story;
use crate::quota::Over;
use crate::runtime_client::CallError;
use archive::Archive;
use bulkhead_protocol::image::{ImageCeilings, ImageExcess, ImageName, ImageRow, ImportImage};
use bulkhead_protocol::limits::MIB;
use bulkhead_protocol::runtime::RefusalKind;
use hyper::StatusCode;
use nix::fcntl::OFlag;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "image not found")
}

/// What an organisation may use: its own and the host's.
pub(crate) async fn list(app: &App, org: &str) -> ApiResult<Vec<ImageRow>> {
    let mut rows = app.runtime.images(org).await.map_err(runtime_error)?;
    // The runtime was asked for no other; that no tenant sees another one does not depend on it.
    rows.retain(|row| row.org.as_deref().is_none_or(|owner| owner == org));
    Ok(rows)
}

/// The image with this id.
pub(crate) async fn by_id(app: &App, org: &str, id: &str) -> ApiResult<ImageRow> {
    list(app, org).await?.into_iter().find(|row| image_id(row) == id).ok_or_else(not_found)
}

/// The image that a create with this name gets: the organisation's own before the host's.
pub(crate) async fn by_name(app: &App, org: &str, name: &str) -> ApiResult<ImageRow> {
    let name = ImageName::parse(name).map_err(|_| not_found())?;
    let named = list(app, org).await?.into_iter().filter(|row| row.name == name);
    named.max_by_key(|row| row.org.is_some()).ok_or_else(not_found)
}

/// Takes away one of the organisation's own.
pub(crate) async fn remove(app: &App, org: &str, id: &str) -> ApiResult<()> {
    let row = by_id(app, org, id).await?;
    if row.org.is_none() {
        return Err(not_found());
    }
    let name = row.name.to_string();
    app.runtime.remove_image(org.to_owned(), row.name).await.map_err(explain)?;
    app.news.of(org).tell(&Story::Image { name: &name, what: "image.deleted" });
    Ok(())
}

/// What the images of an organisation may have together.
pub(crate) fn ceilings(app: &App, org: &str) -> ImageCeilings {
    let quota = app.accounts.of(org).quota();
    ImageCeilings { names: quota.images, bytes: quota.image_mib.map(|mib| mib.saturating_mul(MIB)) }
}

/// Makes an image of an archive that has come. It is a task of its own: a client that goes away changes nothing.
pub(crate) async fn import(app: &Arc<App>, order: ImportImage, archive: Archive) -> ApiResult<ImageRow> {
    let app = Arc::clone(app);
    let task = tokio::spawn(async move {
        let Archive { file, _place } = archive;
        let progress = unheard().map_err(ApiError::internal)?;
        let (org, ceilings) = (order.org.clone(), order.ceilings);
        let imported = app.runtime.import_image(order, file, progress).await;
        app.metrics.imported(match &imported {
            Ok(_) => "imported",
            Err(CallError::Refused { kind: RefusalKind::InvalidImage, .. }) => "invalid",
            Err(CallError::Refused { kind: RefusalKind::Busy | RefusalKind::NoRoom(_), .. }) => "no_room",
            Err(_) => "failed",
        });
        let row = imported.map_err(|error| over(&error, ceilings).unwrap_or_else(|| explain(error)))?;
        if let Some(org) = org {
            app.news.of(&org).tell(&Story::Image { name: &row.name.to_string(), what: "image.imported" });
        }
        Ok(row)
    });
    task.await.map_err(ApiError::internal)?
}

/// A pipe whose end is read and forgotten: nobody who writes to it has to wait or keep anything.
fn unheard() -> io::Result<OwnedFd> {
    let (end, progress) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&end, nix::fcntl::F_SETFL(OFlag::O_NONBLOCK))?;
    let mut end = pipe::Receiver::from_owned_fd(end)?;
    tokio::spawn(async move {
        let mut buffer = [0; 1024];
        while matches!(end.read(&mut buffer).await, Ok(1..)) {}
    });
    Ok(progress)
}

/// The refusal of more than an organisation may have.
fn over(error: &CallError, ceilings: ImageCeilings) -> Option<ApiError> {
    let CallError::Refused { kind: RefusalKind::OverQuota(excess), .. } = error else { return None };
    let over = match excess {
        ImageExcess::Names => Over::of(ceilings.names?, "images"),
        ImageExcess::Bytes => Over::of(ceilings.bytes? / MIB, "MiB of images"),
    };
    Some(over.into())
}

fn explain(error: CallError) -> ApiError {
    let new = |status, text: String| ApiError::new(status, text);
    let answer = match &error {
        CallError::Refused { kind: RefusalKind::InvalidImage, detail } => {
            let plain = detail.chars().filter(|char| !char.is_control()).take(limits::ARCHIVE_FAULT);
            new(StatusCode::BAD_REQUEST, format!("body: {}", plain.collect::<String>()))
        }
        CallError::Refused { kind: RefusalKind::UnknownImage, .. } => not_found(),
        CallError::Refused { kind: RefusalKind::Busy, .. } => {
            new(StatusCode::SERVICE_UNAVAILABLE, "too many images are being made now".to_owned())
        }
        CallError::Refused { kind: RefusalKind::NoRoom(_), .. } => {
            new(StatusCode::SERVICE_UNAVAILABLE, "there is no room for another image".to_owned())
        }
        _ => return runtime_error(error),
    };
    answer.because(error)
}
