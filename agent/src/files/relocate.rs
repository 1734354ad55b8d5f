//! Moves: a rename, or a copy and a delete where the two ends lie on different file systems.

use super::copy::{Copier, Keep, into_directory, refuse_circle};
use super::delete::remove;
use super::entry::kind;
use super::failure::{Outcome, failed};
use super::path::{AbsolutePath, Place, Root};
use super::spool::free_name;
use super::tree::{Depth, look};
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, FileFailure};
use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::sys::stat::FileStat;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::os::fd::AsFd;

/// Moves a path to another, or into it where that is a directory.
pub(crate) fn relocate(
    root: &Root,
    from: &AbsolutePath,
    to: &AbsolutePath,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let source = root.place(from)?;
    let stat = look(&source.directory, &source.name)?;
    let target = match into_directory(root, to, &source)? {
        Some(target) => target,
        None => root.make_place(to)?,
    };
    refuse_circle(root, &stat, &target)?;
    let renamed =
        renameat(&source.directory, source.name.as_c_str(), &target.directory, target.name.as_c_str());
    match renamed {
        Ok(()) => {}
        Err(Errno::EXDEV) => across(&source, &stat, &target, wire)?,
        Err(errno) => return Err(errno.into()),
    }
    Ok(FileDone::default())
}

/// The copy is made under a name of its own, so that the target is there whole or not at all.
fn across(source: &Place, stat: &FileStat, target: &Place, wire: &mut Wire) -> Outcome {
    wire.begin()?;
    make_room(stat, target)?;
    let copy =
        Place { directory: target.directory.try_clone()?, parent: target.parent.clone(), name: free_name() };
    let copier = Copier { keep: Keep::Everything };
    let copied = copier.any(source.directory.as_fd(), &source.name, &copy, Depth::TOP, wire);
    let done = copied.and_then(|()| {
        let rename =
            renameat(&copy.directory, copy.name.as_c_str(), &target.directory, target.name.as_c_str());
        Ok(rename?)
    });
    if done.is_err() {
        // The first reason is the one that is told.
        match remove(&copy.directory, &copy.name, None, Depth::TOP, wire) {
            Ok(()) | Err(_) => {}
        }
        return done;
    }
    remove(&source.directory, &source.name, None, Depth::TOP, wire)
}

/// What a rename would refuse to replace.
fn make_room(source: &FileStat, target: &Place) -> Outcome {
    let old = match look(&target.directory, &target.name) {
        Err(Errno::ENOENT) => return Ok(()),
        old => kind(&old?),
    };
    match (kind(source), old) {
        (EntryKind::Directory, EntryKind::Directory) => {
            Ok(unlinkat(&target.directory, target.name.as_c_str(), UnlinkatFlags::RemoveDir)?)
        }
        (EntryKind::Directory, _) => failed(FileFailure::NotDirectory),
        (_, EntryKind::Directory) => failed(FileFailure::IsDirectory),
        (_, _) => Ok(()),
    }
}
