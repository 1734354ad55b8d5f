//! New directories and empty files.

use super::failure::Outcome;
use super::path::{AbsolutePath, Root};
use super::wire::Wire;
use bulkhead_protocol::files::{FileDone, FileFailure};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, futimens};
use nix::sys::time::TimeSpec;
use std::os::fd::OwnedFd;

/// Bits of a new file, before the mask.
const FILE_MODE: Mode = Mode::from_bits_truncate(0o666);

/// A directory with its parents.
pub(crate) fn directory(root: &Root, path: &AbsolutePath, wire: &mut Wire) -> Outcome<FileDone> {
    match root.find(path) {
        Err(Errno::ENOENT) => wire.begin()?,
        found => drop(found?),
    }
    match root.make(path) {
        Ok(_) => Ok(FileDone::default()),
        // The last name is something else.
        Err(stop) if is_there(root, path) => match stop {
            super::Stop::Failed(FileFailure::NotDirectory) => Err(FileFailure::Exists.into()),
            stop => Err(stop),
        },
        Err(stop) => Err(stop),
    }
}

fn is_there(root: &Root, path: &AbsolutePath) -> bool {
    root.find(path).is_ok()
}

/// An empty file with its parents; one that exists gets a new time.
pub(crate) fn touch(root: &Root, path: &AbsolutePath, wire: &mut Wire) -> Outcome<FileDone> {
    let file = match open(root, path, OFlag::empty()) {
        Err(Errno::ENOENT) => {
            wire.begin()?;
            drop(root.make(&path.split()?.0)?);
            open(root, path, OFlag::O_CREAT)?
        }
        opened => opened?,
    };
    futimens(&file, &TimeSpec::UTIME_NOW, &TimeSpec::UTIME_NOW)?;
    Ok(FileDone::default())
}

/// A pipe has no reader and a file may be read-only: neither may stop this, so it asks for no more than there is.
fn open(root: &Root, path: &AbsolutePath, more: OFlag) -> Result<OwnedFd, Errno> {
    let mode = if more.is_empty() { Mode::empty() } else { FILE_MODE };
    match root.open(path, OFlag::O_WRONLY | OFlag::O_NONBLOCK | more, mode) {
        Err(first @ (Errno::EISDIR | Errno::EACCES | Errno::ENXIO)) => {
            root.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty()).map_err(|_| first)
        }
        opened => opened,
    }
}
