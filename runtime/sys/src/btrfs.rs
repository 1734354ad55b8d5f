//! Subvolumes of btrfs and their quotas. Numbers and structures are those of `linux/btrfs.h`.

use crate::error::{Context, Result};
use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

/// `BTRFS_IOCTL_MAGIC`.
const MAGIC: u8 = 0x94;
/// `BTRFS_FIRST_FREE_OBJECTID`: the root directory of every subvolume.
const ROOT_OBJECT: u64 = 256;
/// `BTRFS_QUOTA_CTL_ENABLE`: whoever refers to an extent pays for it.
const ENABLE_FULL: u64 = 1;
/// `BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA` (Linux 6.7): whoever wrote an extent pays for it, without a walk over
/// all who refer to it at each commit. Our subvolumes share nothing, so both count the same.
const ENABLE_SIMPLE: u64 = 4;
/// `BTRFS_QGROUP_LIMIT_MAX_RFER`.
const LIMIT_REFERENCED: u64 = 1;
/// `BTRFS_QUOTA_TREE_OBJECTID`.
const QUOTA_TREE: u64 = 8;
/// `BTRFS_QGROUP_LIMIT_KEY`: the item of a group's limits.
const LIMIT_ITEM: u32 = 244;
/// `BTRFS_QGROUP_INFO_KEY`: the item of what a group uses.
const INFO_ITEM: u32 = 242;
/// Bytes for results in [`SearchArgs`], which is a page in all.
const FOUND: usize = 4096 - 104;
/// `btrfs_ioctl_search_header`, which stands before each result.
const SEARCH_HEADER: usize = 32;
/// Bytes of a name in [`VolumeArgs`], its NUL included.
const NAME: usize = 4088;

/// `btrfs_ioctl_vol_args`.
#[repr(C)]
struct VolumeArgs {
    fd: i64,
    name: [u8; NAME],
}

/// `btrfs_ioctl_ino_lookup_args`.
#[repr(C)]
struct LookupArgs {
    tree: u64,
    object: u64,
    name: [u8; 4080],
}

/// `btrfs_ioctl_quota_ctl_args`.
#[repr(C)]
struct QuotaArgs {
    command: u64,
    status: u64,
}

/// `btrfs_ioctl_qgroup_limit_args` with the `btrfs_qgroup_limit` in it.
#[repr(C)]
struct LimitArgs {
    group: u64,
    flags: u64,
    max_referenced: u64,
    max_exclusive: u64,
    reserved_referenced: u64,
    reserved_exclusive: u64,
}

/// `btrfs_ioctl_search_args`: the key and room for what is found.
#[repr(C)]
struct SearchArgs {
    tree: u64,
    least_object: u64,
    most_object: u64,
    least_offset: u64,
    most_offset: u64,
    least_transaction: u64,
    most_transaction: u64,
    least_kind: u32,
    most_kind: u32,
    items: u32,
    unused: u32,
    unused_too: [u64; 4],
    found: [u8; FOUND],
}

/// `btrfs_ioctl_qgroup_create_args`.
#[repr(C)]
struct GroupArgs {
    create: u64,
    group: u64,
}

const RESIZE: libc::c_ulong = nix::request_code_write!(MAGIC, 3, size_of::<VolumeArgs>());
const CREATE: libc::c_ulong = nix::request_code_write!(MAGIC, 14, size_of::<VolumeArgs>());
const DESTROY: libc::c_ulong = nix::request_code_write!(MAGIC, 15, size_of::<VolumeArgs>());
const LOOKUP: libc::c_ulong = nix::request_code_readwrite!(MAGIC, 18, size_of::<LookupArgs>());
const SEARCH: libc::c_ulong = nix::request_code_readwrite!(MAGIC, 17, size_of::<SearchArgs>());
const QUOTA: libc::c_ulong = nix::request_code_readwrite!(MAGIC, 40, size_of::<QuotaArgs>());
const GROUP: libc::c_ulong = nix::request_code_write!(MAGIC, 42, size_of::<GroupArgs>());
const LIMIT: libc::c_ulong = nix::request_code_read!(MAGIC, 43, size_of::<LimitArgs>());

/// Turns quotas on for the file system of `root`; where they are on nothing changes.
///
/// # Errors
/// As ioctl(2): `EOPNOTSUPP` or `ENOTTY` where `root` is not on btrfs.
pub fn enable_quotas(root: BorrowedFd<'_>) -> Result<()> {
    let enable = |command| {
        let mut args = QuotaArgs { command, status: 0 };
        ioctl(root, QUOTA, &mut args).map(drop)
    };
    let done = enable(ENABLE_SIMPLE).or_else(|errno| match errno {
        Errno::EINVAL => enable(ENABLE_FULL),
        other => Err(other),
    });
    match done {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).during("ioctl", || "BTRFS_IOC_QUOTA_CTL".into()),
    }
}

/// Lets the file system of `root` use all of its first device, which has grown.
///
/// # Errors
/// As ioctl(2): `EINPROGRESS` while a balance goes on.
pub fn fill_device(root: BorrowedFd<'_>) -> Result<()> {
    let args = volume(c"max").during("ioctl", || "BTRFS_IOC_RESIZE".into());
    ioctl(root, RESIZE, &mut args?).map(drop).during("ioctl", || "BTRFS_IOC_RESIZE max".into())
}

/// Makes an empty subvolume in the directory `parent`.
///
/// # Errors
/// `EEXIST`, `ENOSPC`, `ENAMETOOLONG`, …
pub fn create_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let args = volume(name).during("ioctl", || "BTRFS_IOC_SUBVOL_CREATE".into());
    ioctl(parent, CREATE, &mut args?)
        .map(drop)
        .during("ioctl", || format!("BTRFS_IOC_SUBVOL_CREATE {}", name.to_string_lossy()))
}

/// Takes a subvolume out of `parent` with everything in it; the kernel frees its blocks in the background.
///
/// # Errors
/// `ENOENT`, and `EINVAL` for a directory that is no subvolume.
pub fn destroy_subvolume(parent: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let args = volume(name).during("ioctl", || "BTRFS_IOC_SNAP_DESTROY".into());
    ioctl(parent, DESTROY, &mut args?)
        .map(drop)
        .during("ioctl", || format!("BTRFS_IOC_SNAP_DESTROY {}", name.to_string_lossy()))
}

/// The number of the subvolume that `inside` lies in, which is also that of its quota group.
///
/// # Errors
/// As ioctl(2).
pub fn subvolume_of(inside: BorrowedFd<'_>) -> Result<u64> {
    let mut args = LookupArgs { tree: 0, object: ROOT_OBJECT, name: [0; 4080] };
    ioctl(inside, LOOKUP, &mut args).during("ioctl", || "BTRFS_IOC_INO_LOOKUP".into())?;
    Ok(args.tree)
}

/// Bounds the bytes of a subvolume, data and metadata, from now on.
///
/// # Errors
/// `ENOTCONN` while quotas are off.
pub fn limit_subvolume(root: BorrowedFd<'_>, number: u64, bytes: u64) -> Result<()> {
    let mut args = LimitArgs {
        group: number,
        flags: LIMIT_REFERENCED,
        max_referenced: bytes,
        max_exclusive: 0,
        reserved_referenced: 0,
        reserved_exclusive: 0,
    };
    ioctl(root, LIMIT, &mut args).map(drop).during("ioctl", || format!("BTRFS_IOC_QGROUP_LIMIT {number}"))
}

/// The bound that [`limit_subvolume`] set, as the file system has it written down; `None` where there is none.
///
/// # Errors
/// As ioctl(2): `ENOENT` while quotas are off.
pub fn limit_of_subvolume(root: BorrowedFd<'_>, number: u64) -> Result<Option<u64>> {
    // `btrfs_qgroup_limit_item`: flags, then the bound of what is referred to.
    let words = quota_item(root, number, LIMIT_ITEM)?;
    Ok(words.filter(|[flags, _]| flags & LIMIT_REFERENCED != 0).map(|[_, bytes]| bytes))
}

/// Bytes that a subvolume uses, as of the last commit of the file system; what is still only in memory is not part of it.
///
/// # Errors
/// As ioctl(2): `ENOENT` while quotas are off.
pub fn used_by_subvolume(root: BorrowedFd<'_>, number: u64) -> Result<Option<u64>> {
    // `btrfs_qgroup_info_item`: a generation, then what is referred to.
    Ok(quota_item(root, number, INFO_ITEM)?.map(|[_, bytes]| bytes))
}

/// The first two numbers of an item of a quota group.
fn quota_item(root: BorrowedFd<'_>, number: u64, kind: u32) -> Result<Option<[u64; 2]>> {
    let mut args = SearchArgs {
        tree: QUOTA_TREE,
        least_object: 0,
        most_object: 0,
        least_offset: number,
        most_offset: number,
        least_transaction: 0,
        most_transaction: u64::MAX,
        least_kind: kind,
        most_kind: kind,
        items: 1,
        unused: 0,
        unused_too: [0; 4],
        found: [0; FOUND],
    };
    ioctl(root, SEARCH, &mut args).during("ioctl", || format!("BTRFS_IOC_TREE_SEARCH {number}"))?;
    // Little endian, behind the header of the result.
    let word = |at: usize| -> u64 {
        let bytes = args.found.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    Ok((args.items == 1).then(|| [word(SEARCH_HEADER), word(SEARCH_HEADER + 8)]))
}

/// Forgets the quota group of a subvolume that was destroyed. Newer kernels (6.11) do so themselves, and refuse it
/// while blocks are still to be freed; both are fine.
///
/// # Errors
/// As ioctl(2), except `EBUSY`, `ENOENT` and `EINVAL`.
pub fn forget_group(root: BorrowedFd<'_>, number: u64) -> Result<()> {
    let mut args = GroupArgs { create: 0, group: number };
    match ioctl(root, GROUP, &mut args) {
        Ok(_) | Err(Errno::EBUSY | Errno::ENOENT | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).during("ioctl", || format!("BTRFS_IOC_QGROUP_CREATE {number}")),
    }
}

fn volume(name: &CStr) -> nix::Result<VolumeArgs> {
    let bytes = name.to_bytes_with_nul();
    let mut args = VolumeArgs { fd: 0, name: [0; NAME] };
    args.name.get_mut(..bytes.len()).ok_or(Errno::ENAMETOOLONG)?.copy_from_slice(bytes);
    Ok(args)
}

/// `T` must be the structure that belongs to `request`; its size stands in the number, which is checked.
fn ioctl<T>(fd: BorrowedFd<'_>, request: libc::c_ulong, args: &mut T) -> nix::Result<libc::c_int> {
    const SIZE_SHIFT: u32 = 16;
    const SIZE_MASK: libc::c_ulong = 0x3fff;
    if usize::try_from((request >> SIZE_SHIFT) & SIZE_MASK) != Ok(size_of::<T>()) {
        return Err(Errno::EINVAL);
    }
    // SAFETY: each request of this file reads and writes at most the bytes that its number tells, which are those
    // of `T` (checked above); `args` is exclusively borrowed and every bit pattern is a valid integer of it. The
    // descriptor is borrowed and so open.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), request, std::ptr::from_mut(args)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_name_that_does_not_fit_is_refused_before_the_call() {
        let long = std::ffi::CString::new(vec![b'x'; NAME]).unwrap();
        let here = std::fs::File::open("/").unwrap();
        assert_eq!(create_subvolume(here.as_fd(), &long).unwrap_err().errno, Errno::ENAMETOOLONG);
    }

    #[test]
    fn a_file_system_of_another_kind_says_so() {
        let here = std::fs::File::open("/proc").unwrap();
        assert_eq!(enable_quotas(here.as_fd()).unwrap_err().errno, Errno::ENOTTY);
    }
}
