//! What is known of an image, in a file of its own.

use super::places::{Places, RECORDS};
use super::sharing::place;
use crate::error::{Doing, Error, Result};
use crate::import::Job;
use bulkhead_protocol::image::{ImageDefaults, ImageId};
use bulkhead_sys::error::Context;
use serde::{Deserialize, Serialize};
use std::io::ErrorKind;

/// Ending of these files.
const ENDING: &str = ".json";

/// An image. Its id says whose it is, and with that what its parts are called, whatever holds for imports now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) id: ImageId,
    /// Digests of its layers' tar streams, lowest first.
    pub(crate) diff_ids: Vec<String>,
    pub(crate) defaults: ImageDefaults,
    /// Bytes of the files of all layers.
    pub(crate) bytes: u64,
}

impl Record {
    /// Name of its tree.
    pub(crate) fn tree(&self) -> String {
        place(self.id.digest(), self.id.owner())
    }

    /// Names of its layers, in the order of their digests.
    pub(crate) fn layers(&self) -> impl Iterator<Item = String> {
        self.diff_ids.iter().map(|diff_id| place(diff_id, self.id.owner()))
    }
}

pub(crate) fn read_all(places: &Places) -> Result<Vec<Record>> {
    let mut all = Vec::new();
    for name in places.list(RECORDS)?.iter().filter(|name| name.ends_with(ENDING)) {
        all.push(read(places, name)?);
    }
    Ok(all)
}

fn read(places: &Places, name: &str) -> Result<Record> {
    let path = places.path(RECORDS, name);
    let text =
        std::fs::read(&path).during("read", || name.to_owned()).doing("read what is known of an image")?;
    serde_json::from_slice(&text).map_err(|source| Error::Unreadable { path, source })
}

/// The image that an import of `owner` has published.
pub(crate) fn read_published(places: &Places, job: &str, owner: Option<&str>) -> Result<Record> {
    let job = Job::new(places.open_job(job)?).owned_by(owner.map(str::to_owned));
    let told = job.image().map_err(Error::Import)?;
    read(places, &format!("{}{ENDING}", told.tree()))
}

pub(crate) fn write(places: &Places, record: &Record) -> Result<()> {
    let path = places.path(RECORDS, &format!("{}{ENDING}", record.tree()));
    let text =
        serde_json::to_vec(record).map_err(|source| Error::Unreadable { path: path.clone(), source })?;
    places.write(&path, &text)
}

pub(crate) fn remove(places: &Places, record: &Record) -> Result<()> {
    let path = places.path(RECORDS, &format!("{}{ENDING}", record.tree()));
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        done => done.during("unlink", || path.display().to_string()).doing("forget an image"),
    }
}
