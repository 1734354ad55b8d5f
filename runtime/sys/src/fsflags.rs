//! Attributes of inodes, see ioctl_iflags(2).

use crate::error::{Context, Result};
use nix::errno::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// `FS_TOPDIR_FL`: what is made below this directory has nothing to do with each other.
const TOP_OF_HIERARCHIES: libc::c_int = 0x0002_0000;

/// Asks ext4 to put every directory made in this one into a block group of its own choosing, not beside its
/// neighbours. A file system that does not know the attribute is fine.
///
/// # Errors
/// As ioctl(2), except `ENOTTY`, `EOPNOTSUPP` and `EINVAL`.
pub fn spread_directories(directory: &impl AsFd) -> Result<()> {
    let fd = directory.as_fd().as_raw_fd();
    let mut flags: libc::c_int = 0;
    // SAFETY: FS_IOC_GETFLAGS writes one int (whatever the type in its definition says), which `flags` is; the
    // descriptor is borrowed and so open.
    let read = Errno::result(unsafe { libc::ioctl(fd, libc::FS_IOC_GETFLAGS, &raw mut flags) });
    let wanted = flags | TOP_OF_HIERARCHIES;
    let done = read.and_then(|_| {
        // SAFETY: FS_IOC_SETFLAGS reads one int, which `wanted` is and which outlives the call; the descriptor is
        // borrowed and so open.
        Errno::result(unsafe { libc::ioctl(fd, libc::FS_IOC_SETFLAGS, &raw const wanted) })
    });
    match done {
        Ok(_) | Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL) => Ok(()),
        Err(errno) => Err(errno).during("ioctl", || "FS_IOC_SETFLAGS".into()),
    }
}
