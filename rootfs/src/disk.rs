//! The disks of sandboxes: one limited subvolume each, of an upper layer and overlayfs's work directory.
//!
//! A disk that is given up is renamed into the trash, out of reach at once; [`empty_trash`] destroys it later, in
//! a process of its own. What lies there was written by tenants: nothing here ever looks into it.

use crate::error::{Doing, Error, Result};
use bulkhead_protocol::image::ImageId;
use bulkhead_sys::btrfs;
use bulkhead_sys::error::Context;
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, unlinkat};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Name of the trash in the volume; no id begins with a dot.
const TRASH: &str = ".trash";
const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// File beside the upper layer that holds the id of the image that a disk was made on; none for the built-in one.
const IMAGE: &str = "image";
/// The bound that takes a bound away: `CLEAR_VALUE` of the kernel.
const NO_LIMIT: u64 = u64::MAX;
/// Disks of one id that may wait in the trash at once.
const TRASHED: u32 = 1000;
/// What overlayfs leaves in its work directory so that a `volatile` mount is not mistaken for one that was written
/// back: a file in directories, outermost first.
const VOLATILE: [&str; 3] = ["incompat", "volatile", "dirty"];

/// All disks of an instance.
#[derive(Debug)]
pub struct Disks {
    directory: OwnedFd,
    trash: OwnedFd,
    owner: u32,
}

impl Disks {
    /// Opens the volume that [`crate::volume::open`] mounted; `owner` is what a sandbox's 0 is on disk.
    ///
    /// # Errors
    /// As open(2), mkdirat(2).
    pub fn open(path: &Path, owner: u32) -> Result<Self> {
        let directory = open_directory(path).doing("open the directory of disks")?;
        make_directory(directory.as_fd(), TRASH, 0o700).doing("make the trash")?;
        let trash = below(directory.as_fd(), TRASH).doing("open the trash")?;
        Ok(Self { directory, trash, owner })
    }

    /// Makes the disk of a sandbox, `bytes` large, for an image that is kept as long as the disk is.
    ///
    /// # Errors
    /// `EEXIST` when it exists: a disk is never used twice.
    pub fn create(&self, id: &str, bytes: u64, image: &ImageId) -> Result<Disk> {
        let name = CString::new(id).map_err(|_| Errno::EINVAL);
        let name = name.during("mkdir", || id.to_owned()).doing("make a disk")?;
        btrfs::create_subvolume(self.directory.as_fd(), &name).doing("make a disk")?;
        let disk = self.open_disk(id)?;
        self.bound(&disk, bytes)?;
        disk.fill().doing("fill a disk")?;
        if !image.is_host() {
            disk.remember(image).doing("write down the image of a disk")?;
        }
        Ok(disk)
    }

    /// Takes a disk that an earlier launch left, and its limit away until [`Self::bound`]: a tenant may have filled
    /// it, and the overlay and the files of `/etc` want some room. Nothing may use it any more.
    ///
    /// # Errors
    /// `ENOENT` when there is none.
    pub fn reopen(&self, id: &str) -> Result<Disk> {
        let disk = self.open_disk(id)?;
        self.bound(&disk, NO_LIMIT)?;
        disk.forget_volatile().doing("take a disk again")?;
        Ok(disk)
    }

    /// Limits a disk to `bytes` from here on, also one that holds more; before anything of a tenant runs.
    ///
    /// # Errors
    /// As ioctl(2).
    pub fn bound(&self, disk: &Disk, bytes: u64) -> Result<()> {
        let number = btrfs::subvolume_of(disk.directory()).doing("limit a disk")?;
        btrfs::limit_subvolume(self.directory.as_fd(), number, bytes).doing("limit a disk")
    }

    fn open_disk(&self, id: &str) -> Result<Disk> {
        let directory = below(self.directory.as_fd(), id).doing("open a disk")?;
        Ok(Disk { directory, owner: self.owner })
    }

    /// Puts a disk out of reach at once; a missing one is fine.
    ///
    /// # Errors
    /// As renameat(2).
    pub fn discard(&self, id: &str) -> Result<()> {
        // A sandbox whose launch failed may get another disk, and that one come here before the first is destroyed.
        let later = (1..TRASHED).map(|number| format!("{id}.{number}"));
        let mut last = Errno::EEXIST;
        for name in std::iter::once(id.to_owned()).chain(later) {
            match renameat(&self.directory, id, &self.trash, name.as_str()) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(errno @ (Errno::EEXIST | Errno::ENOTEMPTY)) => last = errno,
                Err(errno) => {
                    last = errno;
                    break;
                }
            }
        }
        Err(last).during("renameat", || id.to_owned()).doing("move a disk to the trash")
    }

    /// Whether there is a disk of this name.
    ///
    /// # Errors
    /// As fstatat(2), except `ENOENT`.
    pub fn exists(&self, id: &str) -> Result<bool> {
        let no_link = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
        match nix::sys::stat::fstatat(&self.directory, id, no_link) {
            Err(Errno::ENOENT) => Ok(false),
            found => found.map(|_| true).during("fstatat", || id.to_owned()).doing("look for a disk"),
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

    /// The images that disks were made on, one for each disk; those in the trash count for nobody.
    ///
    /// # Errors
    /// The first disk that does not say.
    pub(crate) fn images(&self) -> Result<Vec<ImageId>> {
        self.list()?.iter().map(|id| self.open_disk(id)?.image()).collect()
    }

    /// How large a disk may become in bytes, as the file system has it written down; `None` without a limit.
    ///
    /// # Errors
    /// As openat(2) and ioctl(2).
    pub fn limit(&self, id: &str) -> Result<Option<u64>> {
        let directory = below(self.directory.as_fd(), id).doing("open a disk")?;
        let number = btrfs::subvolume_of(directory.as_fd()).doing("read the limit of a disk")?;
        btrfs::limit_of_subvolume(self.directory.as_fd(), number).doing("read the limit of a disk")
    }

    /// Bytes that a disk uses, with its metadata, as of the last commit of the volume: what was written in the last minute
    /// may be missing.
    ///
    /// # Errors
    /// As openat(2) and ioctl(2).
    pub fn used(&self, id: &str) -> Result<Option<u64>> {
        let directory = below(self.directory.as_fd(), id).doing("open a disk")?;
        let number = btrfs::subvolume_of(directory.as_fd()).doing("read what a disk uses")?;
        btrfs::used_by_subvolume(self.directory.as_fd(), number).doing("read what a disk uses")
    }

    /// Whether there is no disk, and none in the trash.
    ///
    /// # Errors
    /// As getdents(2).
    pub fn is_empty(&self) -> Result<bool> {
        let trash = names(self.trash.as_fd()).doing("list the trash")?;
        Ok(trash.is_empty() && self.list()?.is_empty())
    }
}

/// Which disk a launch uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// One that is made for it.
    New,
    /// The one that an earlier launch left.
    Kept,
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

    /// The image that it was made on.
    pub(crate) fn image(&self) -> Result<ImageId> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut text = String::new();
        match openat(&self.directory, IMAGE, flags, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(ImageId::host()),
            opened => File::from(opened.during("openat", || IMAGE.into()).doing("read the image of a disk")?)
                .read_to_string(&mut text)
                .during("read", || IMAGE.into())
                .doing("read the image of a disk")?,
        };
        ImageId::parse(&text).map_err(|_| Error::UnknownImage(text))
    }

    fn remember(&self, image: &ImageId) -> bulkhead_sys::Result<()> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = openat(&self.directory, IMAGE, flags, mode(0o600)).during("openat", || IMAGE.into())?;
        File::from(file).write_all(image.as_str().as_bytes()).during("write", || IMAGE.into())
    }

    fn fill(&self) -> bulkhead_sys::Result<()> {
        fchmod(&self.directory, mode(0o700)).during("fchmod", String::new)?;
        make_directory(self.directory(), "work", 0o700)?;
        self.owned_directory(self.directory(), "upper").map(drop)
    }

    /// Takes away the mark of an earlier `volatile` mount, which overlayfs refuses to mount over: what it warns of is
    /// a crash of the host before the data was written back, and then the file system below tells of it. All of it is
    /// overlayfs's own.
    fn forget_volatile(&self) -> bulkhead_sys::Result<()> {
        match openat(&self.directory, "work/work", DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT) => Ok(()),
            opened => remove_chain(opened.during("openat", || "work".into())?.as_fd(), &VOLATILE),
        }
    }

    /// Writes files of /etc, before anybody uses the disk. A tenant of an earlier launch may have put anything in their
    /// place: what is no directory or no file is left as it is.
    pub(crate) fn rewrite_etc(&self, files: &[(&'static CStr, String)]) -> Result<()> {
        let found = below(self.directory(), "upper").and_then(|upper| below(upper.as_fd(), "etc"));
        let etc = match found {
            Err(error) if matches!(error.errno, Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                return Ok(());
            }
            found => found.doing("open the files of /etc")?,
        };
        let write = |(name, text): &(&CStr, String)| match unlinkat(&etc, *name, UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR) => Ok(()),
            Ok(()) | Err(Errno::ENOENT) => crate::etc::write(etc.as_fd(), name, text, self.owner),
            Err(errno) => Err(errno).during("unlinkat", || name.to_string_lossy().into_owned()),
        };
        files.iter().try_for_each(write).doing("write the files of /etc")
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

/// Destroys every disk in the trash of the volume at `path`.
///
/// # Errors
/// The first call that failed; what could be destroyed is.
pub fn empty_trash(path: &Path) -> Result<()> {
    let directory = open_directory(path).doing("open the directory of disks")?;
    let trash = below(directory.as_fd(), TRASH).doing("open the trash")?;
    let mut stuck: BTreeMap<CString, bulkhead_sys::Error> = BTreeMap::new();
    // Again, until nothing came in meanwhile.
    loop {
        let mut found = names(trash.as_fd()).doing("list the trash")?;
        found.retain(|name| !stuck.contains_key(name));
        if found.is_empty() {
            return stuck.into_values().next().map_or(Ok(()), Err).doing("empty the trash");
        }
        for name in found {
            // One that cannot be destroyed keeps none of the others.
            if let Err(error) = destroy(trash.as_fd(), &name) {
                stuck.insert(name, error);
            }
        }
    }
}

/// Removes the file that the last name is of, and then the directories on the way to it; missing ones are fine.
fn remove_chain(parent: BorrowedFd<'_>, names: &[&str]) -> bulkhead_sys::Result<()> {
    let Some((name, rest)) = names.split_first() else { return Ok(()) };
    if !rest.is_empty() {
        match openat(parent, *name, DIRECTORY, Mode::empty()) {
            Err(Errno::ENOENT) => return Ok(()),
            opened => remove_chain(opened.during("openat", || (*name).to_owned())?.as_fd(), rest)?,
        }
    }
    let how = if rest.is_empty() { UnlinkatFlags::NoRemoveDir } else { UnlinkatFlags::RemoveDir };
    match unlinkat(parent, *name, how) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno).during("unlinkat", || (*name).to_owned()),
    }
}

fn destroy(trash: BorrowedFd<'_>, name: &CStr) -> bulkhead_sys::Result<()> {
    let number = btrfs::subvolume_of(below(trash, name)?.as_fd())?;
    btrfs::destroy_subvolume(trash, name)?;
    btrfs::forget_group(trash, number)
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
