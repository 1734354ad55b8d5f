//! A new file that takes its place when it is whole, or never.

use super::chmod::set_mode;
use super::failure::Outcome;
use super::path::Place;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FileStat, Mode};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, linkat, unlinkat};
use std::collections::hash_map::RandomState;
use std::ffi::CString;
use std::fs::File;
use std::hash::{BuildHasher, Hasher};
use std::os::fd::AsRawFd;

/// Until it is whole nobody else may read it.
const UNFINISHED: Mode = Mode::from_bits_truncate(0o600);
/// Names that are tried.
const TRIES: usize = 16;

/// See the module. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct Spool<'a> {
    place: &'a Place,
    file: File,
    /// Where the file system knows no files without a name.
    name: Option<CString>,
}

/// A name that nobody has.
pub(crate) fn free_name() -> CString {
    let random = RandomState::new().build_hasher().finish();
    CString::new(format!(".bulkhead-{random:016x}")).unwrap_or_default()
}

impl<'a> Spool<'a> {
    /// An empty file in the directory of its place.
    ///
    /// # Errors
    /// As openat(2).
    pub(crate) fn new(place: &'a Place) -> Outcome<Self> {
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
        match openat(&place.directory, c".", flags | OFlag::O_TMPFILE, UNFINISHED) {
            Err(Errno::EOPNOTSUPP | Errno::EISDIR) => {}
            opened => return Ok(Self { place, file: opened?.into(), name: None }),
        }
        let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let mut made = Err(Errno::EEXIST);
        for _ in 0..TRIES {
            let name = free_name();
            made = openat(&place.directory, name.as_c_str(), flags, UNFINISHED).map(|file| (file, name));
            if !matches!(made, Err(Errno::EEXIST)) {
                break;
            }
        }
        let (file, name) = made?;
        Ok(Self { place, file: file.into(), name: Some(name) })
    }

    /// For writing.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Takes the owner of what it replaces, as far as this user may. Drops set-id bits, so it comes before
    /// [`Self::publish`].
    pub(crate) fn inherit(&self, old: &FileStat) -> Outcome {
        let (uid, gid) = (Uid::from_raw(old.st_uid), Gid::from_raw(old.st_gid));
        match fchown(&self.file, Some(uid), Some(gid)) {
            Ok(()) | Err(Errno::EPERM) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes its place with these permission bits; what was there is gone.
    ///
    /// # Errors
    /// As fchmod(2), linkat(2), renameat(2).
    pub(crate) fn publish(mut self, mode: u32) -> Outcome {
        set_mode(&self.file, mode)?;
        let place = self.place;
        let from = match self.name.clone() {
            Some(name) => name,
            None => match self.link(&place.name) {
                Err(Errno::EEXIST) => {
                    let name = free_name();
                    self.link(&name)?;
                    self.name.insert(name).clone()
                }
                linked => return Ok(linked?),
            },
        };
        renameat(&place.directory, from.as_c_str(), &place.directory, place.name.as_c_str())?;
        self.name = None;
        Ok(())
    }

    /// Gives a file without a name this one.
    fn link(&self, name: &CString) -> Result<(), Errno> {
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        linkat(AT_FDCWD, own.as_str(), &self.place.directory, name.as_c_str(), follow)
    }
}

impl Drop for Spool<'_> {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            // There is nobody to be told: the operation failed already, with another reason.
            match unlinkat(&self.place.directory, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}
