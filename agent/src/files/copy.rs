//! Copies, whole trees included. They keep permission bits and links; owners, times and set-id bits only where they
//! stand for a move.

use super::chmod::set_mode;
use super::entry::{kind, mode};
use super::failure::{Outcome, Stop, failed};
use super::path::{AbsolutePath, Place, Root};
use super::spool::Spool;
use super::tree::{Depth, Entries, look, open_directory, open_file, read_link};
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, FileFailure};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fstat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, symlinkat, unlinkat};
use std::ffi::CStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes that are copied between two signs of life.
const PIECE: u64 = 16 << 20;
/// Bits of a directory while it is filled.
const UNFINISHED: Mode = Mode::from_bits_truncate(0o700);
/// Permission bits without set-id and sticky ones.
const PLAIN: u32 = 0o777;

/// What a copy has of its source beside content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// Permission bits.
    Bits,
    /// Owners and times as well, as far as the user may.
    Everything,
}

/// Copies a path to another, or into it where that is a directory.
pub(crate) fn copy(
    root: &Root,
    from: &AbsolutePath,
    to: &AbsolutePath,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let source = root.place(from)?;
    let stat = look(&source.directory, &source.name)?;
    let target = match into_directory(root, to, &source)? {
        Some(target) => target,
        None => root.make_place_behind_links(to)?,
    };
    refuse_circle(root, &stat, &target)?;
    wire.begin()?;
    let copier = Copier { keep: Keep::Bits };
    copier.any(source.directory.as_fd(), &source.name, &target, Depth::TOP, wire)?;
    Ok(FileDone::default())
}

/// The source's name in the directory `to`; none where that is no directory.
pub(crate) fn into_directory(root: &Root, to: &AbsolutePath, source: &Place) -> Outcome<Option<Place>> {
    match root.open(to, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()) {
        Ok(directory) => Ok(Some(Place { directory, parent: to.clone(), name: source.name.clone() })),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Refuses what would go into itself, or onto itself.
pub(crate) fn refuse_circle(root: &Root, source: &FileStat, target: &Place) -> Outcome {
    let same = |stat: &FileStat| (stat.st_dev, stat.st_ino) == (source.st_dev, source.st_ino);
    if look(&target.directory, &target.name).is_ok_and(|stat| same(&stat)) {
        return failed(FileFailure::Impossible);
    }
    if kind(source) != EntryKind::Directory {
        return Ok(());
    }
    let end = fstat(root.directory())?;
    let mut directory: OwnedFd = target.directory.try_clone()?;
    loop {
        let stat = fstat(&directory)?;
        if same(&stat) {
            return failed(FileFailure::Impossible);
        }
        if (stat.st_dev, stat.st_ino) == (end.st_dev, end.st_ino) {
            return Ok(());
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        directory = openat(&directory, c"..", flags, Mode::empty())?;
    }
}

/// Copies one thing after another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copier {
    /// See [`Keep`].
    pub(crate) keep: Keep,
}

impl Copier {
    /// Copies a name of a directory, whatever it is, to a place.
    pub(crate) fn any(
        self,
        from: BorrowedFd<'_>,
        name: &CStr,
        to: &Place,
        depth: Depth,
        wire: &mut Wire,
    ) -> Outcome {
        wire.beat()?;
        let stat = look(&from, name)?;
        match kind(&stat) {
            EntryKind::Directory => return self.directory(from, name, to, depth, wire),
            EntryKind::File => return self.file(open_file(&from, name)?, to, wire),
            EntryKind::Link => {
                let target = read_link(&from, name)?;
                replacing(to, || symlinkat(target.as_os_str(), &to.directory, to.name.as_c_str()))?;
            }
            EntryKind::Pipe | EntryKind::Socket => {
                let node = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
                let bits = Mode::from_bits_truncate(stat.st_mode & PLAIN);
                replacing(to, || mknodat(&to.directory, to.name.as_c_str(), node, bits, 0))?;
            }
            EntryKind::CharacterDevice | EntryKind::BlockDevice => return failed(FileFailure::Special),
        }
        self.finish(&to.directory, &to.name, &stat)
    }

    fn directory(
        self,
        from: BorrowedFd<'_>,
        name: &CStr,
        to: &Place,
        depth: Depth,
        wire: &mut Wire,
    ) -> Outcome {
        let below = depth.below()?;
        let source = open_directory(&from, name)?;
        let stat = fstat(&source)?;
        let made = match mkdirat(&to.directory, to.name.as_c_str(), UNFINISHED) {
            Ok(()) => Some(()),
            Err(Errno::EEXIST) => None,
            Err(errno) => return Err(errno.into()),
        };
        let target = open_directory(&to.directory, &to.name).map_err(|errno| match errno {
            Errno::ENOTDIR | Errno::ELOOP => Stop::from(FileFailure::Exists),
            errno => errno.into(),
        })?;
        // Paths of entries are told to nobody, so the parent's stands for them.
        let mut place = Place { directory: target, parent: to.parent.clone(), name: c"".to_owned() };
        Entries::of(source)?.each(|source, entry| {
            place.name.clone_from(&entry.name);
            self.any(source, &entry.name, &place, below, wire)
        })?;
        if made.is_some() {
            self.finish(&to.directory, &to.name, &stat)?;
            set_mode(&place.directory, self.bits(&stat))?;
        }
        Ok(())
    }

    fn file(self, source: OwnedFd, to: &Place, wire: &mut Wire) -> Outcome {
        let stat = fstat(&source)?;
        if kind(&stat) != EntryKind::File {
            return failed(FileFailure::Special);
        }
        if look(&to.directory, &to.name).is_ok_and(|old| kind(&old) == EntryKind::Directory) {
            return failed(FileFailure::IsDirectory);
        }
        let spool = Spool::new(to)?;
        content(&File::from(source), spool.file(), wire)?;
        if self.keep == Keep::Everything {
            spool.inherit(&stat)?;
        }
        spool.publish(self.bits(&stat))?;
        match self.keep {
            Keep::Bits => Ok(()),
            Keep::Everything => set_times(&to.directory, &to.name, &stat),
        }
    }

    fn bits(self, stat: &FileStat) -> u32 {
        match self.keep {
            Keep::Bits => mode(stat) & PLAIN,
            Keep::Everything => mode(stat),
        }
    }

    /// Owner and times of what has no content.
    fn finish(self, directory: &impl AsFd, name: &CStr, stat: &FileStat) -> Outcome {
        if self.keep == Keep::Bits {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
        match fchownat(directory, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(()) | Err(Errno::EPERM) => set_times(directory, name, stat),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Makes something in place of what is there, unless that is a directory.
fn replacing(to: &Place, make: impl Fn() -> Result<(), Errno>) -> Outcome {
    match make() {
        Err(Errno::EEXIST) => {
            unlinkat(&to.directory, to.name.as_c_str(), UnlinkatFlags::NoRemoveDir)?;
            Ok(make()?)
        }
        made => Ok(made?),
    }
}

fn set_times(directory: &impl AsFd, name: &CStr, stat: &FileStat) -> Outcome {
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    Ok(utimensat(directory, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?)
}

/// Copies what follows in one file to another: by reference or inside the kernel where that can do it.
fn content(from: &File, to: &File, wire: &mut Wire) -> Outcome {
    loop {
        wire.beat()?;
        let mut to = to;
        if std::io::copy(&mut from.take(PIECE), &mut to)? == 0 {
            return Ok(());
        }
    }
}
