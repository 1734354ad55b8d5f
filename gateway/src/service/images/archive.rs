//! An archive on its way to the runtime: a file of ours without a name, so that nothing is left of one when the last
//! descriptor is closed, whoever dies. Nothing of it is looked at.

use super::runtime_error;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::input::Content;
use crate::limits;
use hyper::StatusCode;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::timeout;

/// Where archives lie, and whose are there.
#[derive(Debug)]
pub(crate) struct Archives {
    dir: PathBuf,
    orgs: Arc<Mutex<HashSet<String>>>,
}

/// The place of an organisation, free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    orgs: Arc<Mutex<HashSet<String>>>,
    org: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.orgs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.org);
    }
}

impl Archives {
    /// In this directory.
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, orgs: Arc::default() }
    }

    fn take(&self, org: &str) -> ApiResult<Place> {
        let mut orgs = self.orgs.lock().unwrap_or_else(PoisonError::into_inner);
        if orgs.contains(org) {
            return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "quota: one image at a time"));
        }
        if orgs.len() >= limits::ARCHIVES {
            let text = "too many images are being made now";
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text));
        }
        orgs.insert(org.to_owned());
        Ok(Place { orgs: Arc::clone(&self.orgs), org: org.to_owned() })
    }
}

/// A whole archive.
#[derive(Debug)]
pub(crate) struct Archive {
    pub(super) file: OwnedFd,
    pub(super) _place: Place,
}

/// Reads an archive to its end.
pub(crate) async fn receive(app: &App, org: &str, content: &mut Content) -> ApiResult<Archive> {
    let place = app.archives.take(org)?;
    let mut room = Room { app, looked_at: 0 };
    room.look(content.least()).await?;
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let file = open(&app.archives.dir, flags, Mode::from_bits_truncate(0o600))
        .map_err(|errno| storage(io::Error::from(errno)))?;
    let late = |_| ApiError::new(StatusCode::REQUEST_TIMEOUT, "body: did not come in time");
    let file =
        timeout(limits::ARCHIVE_TIME, store(File::from(file), content, &mut room)).await.map_err(late)??;
    Ok(Archive { file, _place: place })
}

/// The room that an archive takes, beside what the disks of sandboxes were promised.
struct Room<'a> {
    app: &'a App,
    /// How long the archive was when there was room last.
    looked_at: u64,
}

impl Room<'_> {
    /// Makes sure that so many bytes more have room.
    async fn look(&self, more: u64) -> ApiResult<()> {
        let left = self.app.runtime.image_room().await.map_err(runtime_error)?;
        if left > more { Ok(()) } else { Err(full()) }
    }

    /// The archive has this length by now.
    async fn grown(&mut self, length: u64) -> ApiResult<()> {
        if length - self.looked_at < limits::ARCHIVE_LOOK {
            return Ok(());
        }
        self.looked_at = length;
        self.look(0).await
    }
}

async fn store(file: File, content: &mut Content, room: &mut Room<'_>) -> ApiResult<OwnedFd> {
    let file = Arc::new(file);
    let mut length = 0;
    while let Some(bytes) = content.next().await? {
        length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > limits::MAX_ARCHIVE {
            let text = format!("body: is longer than {} bytes", limits::MAX_ARCHIVE);
            return Err(ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, text));
        }
        room.grown(length).await?;
        let file = Arc::clone(&file);
        // A disk may take its time.
        let written = tokio::task::spawn_blocking(move || io::Write::write_all(&mut &*file, &bytes));
        written.await.map_err(ApiError::internal)?.map_err(storage)?;
    }
    if length == 0 {
        return Err(ApiError::bad_request("body: must be the archive of an image"));
    }
    // The position is shared with who gets the descriptor.
    io::Seek::rewind(&mut &*file).map_err(storage)?;
    let file =
        Arc::into_inner(file).ok_or_else(|| ApiError::internal("an archive is still being written"))?;
    Ok(file.into())
}

fn storage(error: io::Error) -> ApiError {
    let is_full =
        [Errno::ENOSPC, Errno::EDQUOT].iter().any(|full| error.raw_os_error() == Some(*full as i32));
    if is_full { full().because(error) } else { ApiError::internal(error) }
}

fn full() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "there is no room for another image")
}
