//! The disks of sandboxes: one directory each, of an upper layer and overlayfs's work directory.
//!
//! A disk that is given up is renamed into the trash, out of reach at once; [`empty_trash`] deletes it later, in
//! a process of its own. What lies there was written by tenants: it is never followed, and never recursed into.

use crate::error::{Doing, Result};
use bulkhead_sys::error::Context;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, unlinkat};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Name of the trash in the directory of disks; no id begins with a dot.
const TRASH: &str = ".trash";
const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The directory of all disks of an instance.
#[derive(Debug)]
pub struct Disks {
    directory: OwnedFd,
    trash: OwnedFd,
    owner: u32,
}

impl Disks {
    /// Opens it; `owner` is what a sandbox's 0 is on disk.
    ///
    /// # Errors
    /// As open(2), mkdirat(2).
    pub fn open(path: &Path, owner: u32) -> Result<Self> {
        let directory = open_directory(path).doing("open the directory of disks")?;
        // ext4 without a journal does not use a freed inode again for minutes but scans past it: beside each
        // other, disks that come and go made every new file of a launch cost 0.8 ms.
        bulkhead_sys::fsflags::spread_directories(&directory).doing("spread disks over the file system")?;
        make_directory(directory.as_fd(), TRASH, 0o700).doing("make the trash")?;
        let trash = below(directory.as_fd(), TRASH).doing("open the trash")?;
        Ok(Self { directory, trash, owner })
    }

    /// Makes the disk of a sandbox.
    ///
    /// # Errors
    /// `EEXIST` when it exists: a disk is never used twice.
    pub fn create(&self, id: &str) -> Result<Disk> {
        mkdirat(&self.directory, id, mode(0o700)).during("mkdirat", || id.to_owned()).doing("make a disk")?;
        let disk =
            Disk { directory: below(self.directory.as_fd(), id).doing("open a disk")?, owner: self.owner };
        disk.fill().doing("fill a disk")?;
        Ok(disk)
    }

    /// Puts a disk out of reach at once; a missing one is fine.
    ///
    /// # Errors
    /// As renameat(2).
    pub fn discard(&self, id: &str) -> Result<()> {
        match renameat(&self.directory, id, &self.trash, id) {
            Err(Errno::ENOENT) => Ok(()),
            done => done.during("renameat", || id.to_owned()).doing("move a disk to the trash"),
        }
    }

    /// Whether the trash still holds a disk.
    ///
    /// # Errors
    /// As fstatat(2), except `ENOENT`.
    pub fn is_in_trash(&self, id: &str) -> Result<bool> {
        match nix::sys::stat::fstatat(&self.trash, id, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno).during("fstatat", || id.to_owned()).doing("look into the trash"),
        }
    }

    /// The ids that have a disk.
    ///
    /// # Errors
    /// As getdents(2).
    pub fn list(&self) -> Result<Vec<String>> {
        let names = names(self.directory.as_fd()).doing("list disks")?;
        Ok(names
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect())
    }
}

/// The disk of one sandbox.
#[derive(Debug)]
pub struct Disk {
    directory: OwnedFd,
    owner: u32,
}

impl Disk {
    /// Its directory, with `upper` and `work` in it.
    #[must_use]
    pub fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    fn fill(&self) -> bulkhead_sys::Result<()> {
        make_directory(self.directory(), "work", 0o700)?;
        self.owned_directory(self.directory(), "upper").map(drop)
    }

    /// Writes files of /etc, before anybody uses the disk.
    pub(crate) fn write_etc(&self, files: &[(&'static CStr, String)]) -> Result<()> {
        let upper = below(self.directory(), "upper").doing("open a disk")?;
        let etc = self.owned_directory(upper.as_fd(), "etc").doing("write the files of /etc")?;
        let write = |(name, text): &(&CStr, String)| crate::etc::write(etc.as_fd(), name, text, self.owner);
        files.iter().try_for_each(write).doing("write the files of /etc")
    }

    fn owned_directory(&self, parent: BorrowedFd<'_>, name: &str) -> bulkhead_sys::Result<OwnedFd> {
        make_directory(parent, name, 0o755)?;
        let made = below(parent, name)?;
        let owner = (Some(Uid::from_raw(self.owner)), Some(Gid::from_raw(self.owner)));
        nix::unistd::fchown(&made, owner.0, owner.1).during("fchown", || name.to_owned())?;
        Ok(made)
    }
}

/// Deletes everything in the trash of the directory of disks at `path`.
///
/// Directories are not recursed into but moved up into the trash and come up there later: a tree of any depth
/// needs two descriptors and no stack, and no path is ever longer than one name.
///
/// # Errors
/// The first call that failed; what could be deleted is.
pub fn empty_trash(path: &Path) -> Result<()> {
    let directory = open_directory(path).doing("open the directory of disks")?;
    let trash = below(directory.as_fd(), TRASH).doing("open the trash")?;
    let mut moved = 0u64;
    let mut stuck: BTreeMap<CString, bulkhead_sys::Error> = BTreeMap::new();
    loop {
        let found = names(trash.as_fd()).doing("list the trash")?;
        let mut left = found.into_iter().filter(|name| !stuck.contains_key(name)).peekable();
        if left.peek().is_none() {
            return stuck.into_values().next().map_or(Ok(()), Err).doing("delete from the trash");
        }
        for name in left.collect::<Vec<_>>() {
            // One that cannot be deleted keeps none of the others.
            if let Err(error) = delete(trash.as_fd(), &name, &mut moved) {
                stuck.insert(name, error);
            }
        }
    }
}

/// Deletes one entry of the trash; its directories move up into the trash.
fn delete(trash: BorrowedFd<'_>, name: &CString, moved: &mut u64) -> bulkhead_sys::Result<()> {
    if try_unlink(trash, name)? {
        return Ok(());
    }
    let inner = below(trash, name.as_c_str())?;
    let mut entries =
        Dir::from_fd(inner.try_clone().during("dup", String::new)?).during("fdopendir", String::new)?;
    for entry in entries.iter() {
        let entry = entry.during("getdents", || name.to_string_lossy().into_owned())?;
        let below_name = entry.file_name();
        if matches!(below_name.to_bytes(), b"." | b"..") || try_unlink(inner.as_fd(), below_name)? {
            continue;
        }
        *moved += 1;
        // Not an id: it cannot be taken for a disk, and a name is never used twice in one run.
        let up = format!("+{}.{moved}", std::process::id());
        renameat(&inner, below_name, trash, up.as_str()).during("renameat", || up.clone())?;
    }
    match unlinkat(trash, name.as_c_str(), UnlinkatFlags::RemoveDir) {
        // An entry that the listing missed while the directory shrank: the next round sees it.
        Ok(()) | Err(Errno::ENOTEMPTY) => Ok(()),
        Err(errno) => Err(errno).during("unlinkat", || name.to_string_lossy().into_owned()),
    }
}

/// False when the entry is a directory.
fn try_unlink(parent: BorrowedFd<'_>, name: &CStr) -> bulkhead_sys::Result<bool> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EISDIR | Errno::EPERM) => Ok(false),
        Err(errno) => Err(errno).during("unlinkat", || name.to_string_lossy().into_owned()),
    }
}

fn names(directory: BorrowedFd<'_>) -> bulkhead_sys::Result<Vec<CString>> {
    let again = openat(directory, ".", DIRECTORY, Mode::empty()).during("openat", || ".".into())?;
    let mut entries = Dir::from_fd(again).during("fdopendir", String::new)?;
    let mut out = Vec::new();
    for entry in entries.iter() {
        let entry = entry.during("getdents", String::new)?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            out.push(entry.file_name().to_owned());
        }
    }
    Ok(out)
}

fn open_directory(path: &Path) -> bulkhead_sys::Result<OwnedFd> {
    nix::fcntl::open(path, DIRECTORY, Mode::empty()).during("open", || path.display().to_string())
}

fn below<P: nix::NixPath + ?Sized>(parent: BorrowedFd<'_>, name: &P) -> bulkhead_sys::Result<OwnedFd> {
    openat(parent, name, DIRECTORY, Mode::empty()).during("openat", || "directory".into())
}

fn make_directory(parent: BorrowedFd<'_>, name: &str, bits: u32) -> bulkhead_sys::Result<()> {
    match mkdirat(parent, name, mode(bits)) {
        Err(Errno::EEXIST) => Ok(()),
        done => done.during("mkdirat", || name.to_owned()),
    }
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_and_links_out_of_it_are_deleted_without_following() {
        let home = tempfile::tempdir().unwrap();
        let outside = home.path().join("outside");
        std::fs::write(&outside, "kept").unwrap();
        let disks = home.path().join("disks");
        std::fs::create_dir(&disks).unwrap();
        let store = Disks::open(&disks, nix::unistd::getuid().as_raw()).unwrap();
        std::fs::create_dir(disks.join("a")).unwrap();
        std::os::unix::fs::symlink(&outside, disks.join("a/link")).unwrap();
        let mut at = below(store.directory.as_fd(), "a").unwrap();
        for depth in 0..2000 {
            make_directory(at.as_fd(), "deep", 0).unwrap();
            std::os::unix::fs::symlink(
                "/",
                format!("/proc/self/fd/{}/l{depth}", std::os::fd::AsRawFd::as_raw_fd(&at)),
            )
            .unwrap();
            at = below(at.as_fd(), "deep").unwrap();
        }
        store.discard("a").unwrap();
        store.discard("a").unwrap();
        assert!(store.is_in_trash("a").unwrap());
        assert!(store.list().unwrap().is_empty());
        empty_trash(&disks).unwrap();
        assert!(!store.is_in_trash("a").unwrap());
        assert_eq!(std::fs::read_to_string(outside).unwrap(), "kept");
    }

    #[test]
    fn a_disk_is_never_made_twice() {
        let home = tempfile::tempdir().unwrap();
        let store = Disks::open(home.path(), nix::unistd::getuid().as_raw()).unwrap();
        store.create("b").unwrap();
        assert!(store.create("b").is_err());
        assert!(home.path().join("b/upper").is_dir());
    }
}
