//! Room of the volume: what its file system believes to have is taken from the disk below it at once, and more is taken
//! before it runs out.
//!
//! A sparse file would promise what may have gone to somebody else. Then a write fails that btrfs cannot take back, and
//! it turns read-only for every tenant. As it is, a host whose disk is full refuses writes inside with `ENOSPC`, and
//! nothing else happens. What was taken stays the volume's until the instance is purged.

use super::{FILE, LEAST_BYTES, SHARE_OF_FREE, attached_device, open_directory};
use crate::error::{Doing, Error, Result};
use bulkhead_sys::error::Context;
use bulkhead_sys::{btrfs, loopdev};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, fallocate};
use nix::sys::stat::Mode;
use nix::sys::statvfs::{Statvfs, statvfs};
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// So much is taken at a time, in bytes.
pub(super) const STEP: u64 = 4 << 30;
/// With less than this left in the volume more is taken: what tenants can write to memory between two looks.
const AHEAD: u64 = 2 << 30;
/// With less than this left an operator has to look.
const LITTLE: u64 = 256 << 20;
/// A smaller step is not worth a commit of the file system.
const LEAST_STEP: u64 = 256 << 20;
/// What a file system may hide of its device at the end.
const SLACK: u64 = 16 << 20;
/// Bytes of a block in `st_blocks`.
const BLOCK: u64 = 512;

/// What came of a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// There was room, or there is still some and no more to be had.
    Enough,
    /// It has so many bytes now.
    Grown(u64),
    /// Little is left, and the disk below has no more.
    NoRoom,
}

/// The volume of a state directory, to look at again and again.
#[derive(Debug)]
pub struct Room {
    state_dir: PathBuf,
    place: PathBuf,
    device: PathBuf,
    /// Where the kernel says what the file system has given to what.
    allocation: PathBuf,
}

impl Room {
    /// Of the volume whose file lies in `state_dir`, mounted at `place`.
    ///
    /// # Errors
    /// [`Error::NoVolume`] where it is not mounted.
    pub fn of(state_dir: &Path, place: &Path) -> Result<Self> {
        let nothing = |what: &str| Error::NoVolume(format!("{} {what}", place.display()));
        let file = open(&state_dir.join(FILE))?;
        let device = attached_device(file.as_fd())?.ok_or_else(|| nothing("has no device"))?;
        let name = device.file_name().unwrap_or_default();
        let systems = std::fs::read_dir("/sys/fs/btrfs").into_iter().flatten().flatten();
        let ours = systems.map(|entry| entry.path()).find(|path| path.join("devices").join(name).exists());
        let allocation = ours.ok_or_else(|| nothing("is not mounted"))?.join("allocation");
        Ok(Self { state_dir: state_dir.to_owned(), place: place.to_owned(), device, allocation })
    }

    /// Makes it larger where little is left in it.
    ///
    /// # Errors
    /// The first call that failed. What was done by then is found by the next look.
    pub fn grow(&self) -> Result<Growth> {
        let total = look(&self.place)?;
        let total = total.blocks() * total.fragment_size();
        let left = self.left(total)?;
        if left >= AHEAD {
            return Ok(Growth::Enough);
        }
        let refused = if left < LITTLE { Growth::NoRoom } else { Growth::Enough };
        let path = self.state_dir.join(FILE);
        let file = open(&path)?;
        let meta = file.metadata().during("fstat", || path.display().to_string()).doing("grow the volume")?;
        // Where the step before was cut in half the file is longer than what lies in it.
        let mut length = meta.len();
        if total + SLACK >= length {
            let step = next_step(length, free(&look(&self.state_dir)?));
            if step < LEAST_STEP || !take(&file, &path, length, step)? {
                return Ok(refused);
            }
            length += step;
        }
        loopdev::follow_size(&self.device).doing("grow the volume")?;
        btrfs::fill_device(open_directory(&self.place)?.as_fd()).doing("grow the volume")?;
        Ok(Growth::Grown(length))
    }

    /// Bytes that the file system has given neither to data nor to metadata: a tenant's data must not leave those of
    /// others without the other. What is booked counts at once; statfs(2) calls it free until it is written, for as
    /// long as half a minute.
    fn left(&self, total: u64) -> Result<u64> {
        let mut given = 0;
        for kind in ["data", "metadata", "system"] {
            given += self.number(kind, "disk_total")?;
        }
        Ok(total.saturating_sub(given))
    }

    fn number(&self, kind: &str, what: &str) -> Result<u64> {
        let path = self.allocation.join(kind).join(what);
        let text = std::fs::read_to_string(&path)
            .during("read", || path.display().to_string())
            .doing("look at the volume of disks")?;
        text.trim_end().parse().map_err(|_| Error::NoVolume(format!("{}: {text:?}", path.display())))
    }
}

/// Takes what a volume of an earlier version only promises, where it is still there.
pub(super) fn keep_promise(path: &Path) -> Result<()> {
    let file = open(path)?;
    let meta = file.metadata().during("fstat", || path.display().to_string()).doing("look at the volume")?;
    let promised = meta.len().saturating_sub(meta.blocks() * BLOCK);
    if promised < SLACK {
        return Ok(());
    }
    let home = path.parent().unwrap_or(Path::new("/"));
    if free(&look(home)?) < promised || !take(&file, path, 0, meta.len())? {
        tracing::warn!("the volume of disks promises {} MiB that the disk does not have", promised >> 20);
    }
    Ok(())
}

/// How much more a file may have: the host keeps its share of what it and the file have together.
pub(crate) fn next_step(length: u64, free: u64) -> u64 {
    let most = (length + free) / 100 * SHARE_OF_FREE;
    // Whole blocks, for I/O past the page cache.
    most.saturating_sub(length).min(STEP) & !0xfff
}

/// The first size of a volume on a disk with so much free.
pub(super) fn first_size(free: u64) -> Option<u64> {
    Some(next_step(0, free)).filter(|size| *size >= LEAST_BYTES)
}

/// Takes bytes for a file. False where the disk does not have them; a file system that cannot promise any gives as it
/// goes.
pub(super) fn take(file: &File, path: &Path, from: u64, bytes: u64) -> Result<bool> {
    let offset = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    match fallocate(file, FallocateFlags::empty(), offset(from), offset(bytes)) {
        Ok(()) => Ok(true),
        Err(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG) => Ok(false),
        Err(Errno::EOPNOTSUPP) => {
            file.set_len(from + bytes)
                .during("ftruncate", || path.display().to_string())
                .doing("grow the volume")?;
            Ok(true)
        }
        Err(errno) => Err(errno).during("fallocate", || path.display().to_string()).doing("grow the volume"),
    }
}

fn open(path: &Path) -> Result<File> {
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
        .map(File::from)
        .during("open", || path.display().to_string())
        .doing("open the volume of disks")
}

fn look(path: &Path) -> Result<Statvfs> {
    statvfs(path).during("statvfs", || path.display().to_string()).doing("look for room for the disks")
}

fn free(seen: &Statvfs) -> u64 {
    seen.blocks_available() * seen.fragment_size()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn the_host_keeps_a_quarter_of_what_both_have() {
        assert_eq!(next_step(0, 100 * GIB), STEP);
        assert_eq!(first_size(GIB), None);
        assert!((LEAST_BYTES..2 * GIB).contains(&first_size(2 * GIB).unwrap()));
        // Four have been taken of eight: two more, then no more.
        let more = next_step(4 * GIB, 4 * GIB);
        assert!(more > GIB && more <= 2 * GIB, "{more}");
        assert!(next_step(4 * GIB + more, 4 * GIB - more) < LEAST_STEP);
        assert_eq!(next_step(GIB, 0), 0);
    }
}
