//! Permission bits.

use super::failure::Outcome;
use super::path::{AbsolutePath, Root};
use bulkhead_protocol::files::FileDone;
use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use std::os::fd::{AsFd, AsRawFd};

/// Sets the permission bits of what a path leads to.
pub(crate) fn chmod(root: &Root, path: &AbsolutePath, mode: u32) -> Outcome<FileDone> {
    let found = root.find(path)?;
    set_mode(&found, mode)?;
    Ok(FileDone::default())
}

/// Sets the bits of what is open, as a place only or for reading.
///
/// # Errors
/// As fchmodat(2).
pub(crate) fn set_mode(file: &impl AsFd, mode: u32) -> Result<(), Errno> {
    // fchmod(2) takes no descriptor that is a place only; its name under /proc leads to nothing but that.
    let name = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
    let mode = Mode::from_bits_truncate(mode & 0o7777);
    fchmodat(nix::fcntl::AT_FDCWD, name.as_str(), mode, FchmodatFlags::FollowSymlink)
}
