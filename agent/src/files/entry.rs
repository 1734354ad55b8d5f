//! What is told of an inode.

use super::path::text;
use bulkhead_protocol::files::{Entry, EntryKind};
use nix::sys::stat::{FileStat, SFlag};

/// Type of an inode.
pub(crate) fn kind(stat: &FileStat) -> EntryKind {
    match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
        SFlag::S_IFDIR => EntryKind::Directory,
        SFlag::S_IFLNK => EntryKind::Link,
        SFlag::S_IFCHR => EntryKind::CharacterDevice,
        SFlag::S_IFBLK => EntryKind::BlockDevice,
        SFlag::S_IFIFO => EntryKind::Pipe,
        SFlag::S_IFSOCK => EntryKind::Socket,
        _ => EntryKind::File,
    }
}

/// Bytes of its content.
pub(crate) fn size(stat: &FileStat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Microseconds since 1970 of its last change.
pub(crate) fn modified_us(stat: &FileStat) -> i64 {
    stat.st_mtime.saturating_mul(1_000_000).saturating_add(stat.st_mtime_nsec / 1000)
}

/// Permission bits, the set-id and sticky ones included.
pub(crate) fn mode(stat: &FileStat) -> u32 {
    stat.st_mode & 0o7777
}

/// All of it.
pub(crate) fn entry(path: &[u8], stat: &FileStat, target: Option<&[u8]>) -> Entry {
    Entry {
        path: text(path),
        kind: kind(stat),
        size: size(stat),
        mode: stat.st_mode,
        uid: stat.st_uid,
        gid: stat.st_gid,
        modified_us: modified_us(stat),
        target: target.map(text),
    }
}
