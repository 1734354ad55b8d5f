//! Steps down a tree by open directories and single names, so that whoever renames meanwhile leads nobody away.

use super::failure::{Outcome, failed};
use bulkhead_protocol::files::{FileFailure, MAX_DEPTH};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstatat};
use std::ffi::{CStr, CString, OsString};
use std::os::fd::{AsFd, OwnedFd};

/// How far below its beginning a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth(u32);

impl Depth {
    /// The beginning.
    pub(crate) const TOP: Self = Self(0);

    /// One step down.
    ///
    /// # Errors
    /// [`FileFailure::Bounds`] below [`MAX_DEPTH`].
    pub(crate) fn below(self) -> Outcome<Self> {
        if self.0 >= MAX_DEPTH {
            return failed(FileFailure::Bounds);
        }
        Ok(Self(self.0 + 1))
    }
}

/// Opens a directory by its name in another, never a link.
///
/// # Errors
/// As openat(2): `ENOTDIR` or `ELOOP` for anything else.
pub(crate) fn open_directory(directory: &impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// Opens a file by its name in a directory, never a link, never waiting.
///
/// # Errors
/// As openat(2).
pub(crate) fn open_file(directory: &impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::empty())
}

/// What is told of a name, links not followed.
///
/// # Errors
/// As fstatat(2).
pub(crate) fn look(directory: &impl AsFd, name: &CStr) -> Result<FileStat, Errno> {
    fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}

/// Where a link leads.
///
/// # Errors
/// As readlinkat(2); `ENOENT` as well for a name that is no link any more.
pub(crate) fn read_link(directory: &impl AsFd, name: &CStr) -> Result<OsString, Errno> {
    readlinkat(directory, name).map_err(|errno| match errno {
        Errno::EINVAL => Errno::ENOENT,
        errno => errno,
    })
}

/// A name in a directory, and its type where the file system says it.
#[derive(Debug)]
pub(crate) struct Name {
    /// One name.
    pub(crate) name: CString,
    /// As at the time of the look.
    pub(crate) kind: Option<Type>,
}

/// An open directory, entry by entry.
#[derive(Debug)]
pub(crate) struct Entries(Dir);

impl Entries {
    /// Takes an open directory.
    ///
    /// # Errors
    /// As fdopendir(3).
    pub(crate) fn of(directory: OwnedFd) -> Result<Self, Errno> {
        Dir::from_fd(directory).map(Self)
    }

    /// The names that are there, without `.` and `..`, read as the walk goes on: calls `visit` for each.
    ///
    /// # Errors
    /// As readdir(3), and what `visit` says.
    pub(crate) fn each(
        mut self,
        mut visit: impl FnMut(std::os::fd::BorrowedFd<'_>, &Name) -> Outcome,
    ) -> Outcome {
        // The iterator borrows all of it, so the descriptor is another one of the same directory.
        let directory = self.0.as_fd().try_clone_to_owned()?;
        for entry in self.0.iter() {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            visit(directory.as_fd(), &Name { name: entry.file_name().to_owned(), kind: entry.file_type() })?;
        }
        Ok(())
    }
}
