//! Delete, whole trees included.

use super::failure::{Outcome, Stop};
use super::path::{AbsolutePath, Root};
use super::tree::{Depth, Entries, Name, open_directory};
use super::wire::Wire;
use bulkhead_protocol::files::FileDone;
use nix::dir::Type;
use nix::errno::Errno;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::CStr;
use std::os::fd::AsFd;

/// How often a directory is emptied that others fill meanwhile.
const TRIES: usize = 16;

/// Removes a path and everything below it; what is missing is fine.
pub(crate) fn delete(root: &Root, path: &AbsolutePath, wire: &mut Wire) -> Outcome<FileDone> {
    let place = match root.place(path) {
        Err(Stop::Failed(bulkhead_protocol::files::FileFailure::NotFound)) => return Ok(FileDone::default()),
        place => place?,
    };
    remove(&place.directory, &place.name, None, Depth::TOP, wire)?;
    Ok(FileDone::default())
}

/// Removes a name of a directory and everything below it.
pub(crate) fn remove(
    directory: &impl AsFd,
    name: &CStr,
    kind: Option<Type>,
    depth: Depth,
    wire: &mut Wire,
) -> Outcome {
    wire.beat()?;
    if kind != Some(Type::Directory) {
        match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::EISDIR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    for _ in 0..TRIES {
        match unlinkat(directory, name, UnlinkatFlags::RemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => return Ok(()),
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {}
            // Replaced since the look.
            Err(Errno::ENOTDIR) => return remove(directory, name, None, depth.below()?, wire),
            Err(errno) => return Err(errno.into()),
        }
        let below = depth.below()?;
        match open_directory(directory, name) {
            Ok(opened) => {
                // From here on something may be gone when it fails.
                wire.begin()?;
                Entries::of(opened)?
                    .each(|directory, Name { name, kind }| remove(&directory, name, *kind, below, wire))?;
            }
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(Errno::ENOTEMPTY.into())
}
