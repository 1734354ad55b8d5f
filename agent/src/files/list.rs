//! List and stat.

use super::entry::{entry, kind};
use super::failure::{Outcome, Stop};
use super::path::{AbsolutePath, Root};
use super::tree::{Entries, look, open_directory};
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, MAX_DEPTH};
use nix::errno::Errno;
use nix::fcntl::{OFlag, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

/// What is told of one path.
pub(crate) fn stat(root: &Root, path: &AbsolutePath) -> Outcome<FileDone> {
    let found = root.open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())?;
    let stat = fstat(&found)?;
    let target = target(&found, c"", &stat);
    let entry = entry(path.bytes(), &stat, target.as_deref());
    Ok(FileDone { stat: Some(entry), ..FileDone::default() })
}

/// The entries of a directory, and of those below down to a depth. Lines of 100,000 entries are never all here.
pub(crate) fn list(root: &Root, path: &AbsolutePath, depth: u32, wire: &mut Wire) -> Outcome<FileDone> {
    let directory = root.open_directory(path)?;
    wire.begin()?;
    let mut count = 0;
    list_below(directory, path, depth.min(MAX_DEPTH), wire, &mut count)?;
    Ok(FileDone { entries: Some(count), ..FileDone::default() })
}

fn list_below(
    directory: OwnedFd,
    path: &AbsolutePath,
    depth: u32,
    wire: &mut Wire,
    count: &mut u64,
) -> Outcome {
    Entries::of(directory)?.each(|directory, name| {
        wire.beat()?;
        // It may be gone since.
        let Some(stat) = gone_is_none(look(&directory, &name.name))? else { return Ok(()) };
        let bytes = path.join(name.name.to_bytes());
        wire.line(&entry(&bytes, &stat, target(&directory, &name.name, &stat).as_deref()))?;
        *count += 1;
        // A path that is too long to be asked for has nothing below that could be.
        let (true, Ok(below)) = (depth > 1 && kind(&stat) == EntryKind::Directory, AbsolutePath::new(bytes))
        else {
            return Ok(());
        };
        match open_directory(&directory, &name.name) {
            Ok(directory) => list_below(directory, &below, depth - 1, wire, count),
            // Gone, something else by now, or not for this user: it is listed, what is in it is not.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    })
}

/// A missing name is none.
fn gone_is_none(looked: Result<FileStat, Errno>) -> Outcome<Option<FileStat>> {
    match looked {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::ENOENT) => Ok(None),
        // In a directory that may be read but not entered.
        Err(errno) => Err(Stop::from(errno)),
    }
}

fn target(directory: &impl AsFd, name: &CStr, stat: &FileStat) -> Option<Vec<u8>> {
    let directory: BorrowedFd<'_> = directory.as_fd();
    (kind(stat) == EntryKind::Link)
        .then(|| readlinkat(directory, name).ok().map(OsStringExt::into_vec))
        .flatten()
}
