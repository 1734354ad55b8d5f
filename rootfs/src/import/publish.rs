//! The last step of an import: what is finished gets its place in the store. Names are the runtime's to give.

use super::digest::Digest;
use super::failure::{Failure, Outcome, Step};
use super::job::{self, Job};
use crate::images::places::{LAYERS, Places, TREES};
use crate::images::record;
use nix::errno::Errno;
use nix::fcntl::renameat;
use std::os::fd::{AsFd, BorrowedFd};

/// Moves layers and the tree to their places, and writes down that there is such an image. All of it was written to the
/// disk before. What another import has put there meanwhile is the same, and stays.
///
/// # Errors
/// The first step that failed; a collection takes away what was moved.
pub fn publish(places: &Places, job: &Job) -> Outcome {
    let image = job.image()?;
    Digest::parse(image.id.digest())?;
    if let Some(unpacked) = job::directory(job.directory(), job::LAYERS)? {
        let layers = places.open_layers().map_err(failed)?;
        for (diff_id, place) in image.diff_ids.iter().zip(image.layers()) {
            put(unpacked.as_fd(), Digest::parse(diff_id)?.hex(), layers.as_fd(), &place)?;
        }
    }
    let trees = places.open_directory(TREES).map_err(failed)?;
    put(job.directory(), job::TREE, trees.as_fd(), &image.tree())?;
    for directory in [LAYERS, TREES] {
        let opened = places.open_directory(directory).map_err(failed)?;
        nix::unistd::fsync(&opened).step("fsync", directory.as_bytes())?;
    }
    record::write(places, &image).map_err(failed)
}

/// A missing one is where it shall be already: the same layer came twice, or the store had it.
fn put(from: BorrowedFd<'_>, name: &str, into: BorrowedFd<'_>, place: &str) -> Outcome {
    match renameat(from, name, into, place) {
        Ok(()) | Err(Errno::ENOENT | Errno::EEXIST | Errno::ENOTEMPTY) => Ok(()),
        Err(errno) => Err(errno).step("renameat", name.as_bytes()),
    }
}

fn failed(error: crate::Error) -> Failure {
    match error {
        crate::Error::System { source, .. } => Failure::System(source),
        other => Failure::Other(other.to_string()),
    }
}
