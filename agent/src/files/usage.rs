//! How much disk a tree takes, counted as du(1) does: blocks, each inode once.

use super::entry::kind;
use super::failure::{Outcome, failed};
use super::path::{AbsolutePath, Root};
use super::tree::{Depth, Entries, look, open_directory};
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, FileFailure};
use nix::errno::Errno;
use nix::sys::stat::FileStat;
use std::collections::HashSet;
use std::ffi::CStr;
use std::os::fd::AsFd;

/// Unit of `st_blocks` in bytes, see stat(2).
const BLOCK: u64 = 512;
/// Inodes with several names that are remembered: 16 MiB of memory.
const MAX_LINKED: usize = 1 << 20;

#[derive(Debug, Default)]
struct Count {
    bytes: u64,
    /// Those that have more than one name.
    linked: HashSet<(u64, u64)>,
}

/// Counts a path and everything below it.
pub(crate) fn usage(root: &Root, path: &AbsolutePath, wire: &mut Wire) -> Outcome<FileDone> {
    let mut count = Count::default();
    if path.bytes() == b"/" {
        wire.begin()?;
        count.add(&nix::sys::stat::fstat(root.directory())?)?;
        count.below(root.directory(), c".", Depth::TOP, wire)?;
    } else {
        let place = root.place(path)?;
        let stat = look(&place.directory, &place.name)?;
        wire.begin()?;
        count.add(&stat)?;
        if kind(&stat) == EntryKind::Directory {
            count.below(&place.directory, &place.name, Depth::TOP, wire)?;
        }
    }
    Ok(FileDone { bytes: Some(count.bytes), ..FileDone::default() })
}

impl Count {
    fn add(&mut self, stat: &FileStat) -> Outcome {
        let more_names = stat.st_nlink > 1 && kind(stat) != EntryKind::Directory;
        if more_names && !self.linked.insert((stat.st_dev, stat.st_ino)) {
            return Ok(());
        }
        if self.linked.len() > MAX_LINKED {
            return failed(FileFailure::Bounds);
        }
        self.bytes += u64::try_from(stat.st_blocks).unwrap_or(0) * BLOCK;
        Ok(())
    }

    fn below(&mut self, parent: &impl AsFd, name: &CStr, depth: Depth, wire: &mut Wire) -> Outcome {
        let below = depth.below()?;
        let directory = match open_directory(parent, name) {
            Ok(directory) => directory,
            // Gone or replaced since the look, or not for this user.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        Entries::of(directory)?.each(|directory, entry| {
            wire.beat()?;
            let stat = match look(&directory, &entry.name) {
                Err(Errno::ENOENT) => return Ok(()),
                stat => stat?,
            };
            self.add(&stat)?;
            match kind(&stat) {
                EntryKind::Directory => self.below(&directory, &entry.name, below, wire),
                _ => Ok(()),
            }
        })
    }
}
