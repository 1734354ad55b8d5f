//! System calls that nix 0.31 does not wrap, or wraps with an allocation.
//!
//! Every function may run between clone and exec: no allocation, no lock, no panic.

pub mod exec;
pub mod mount;
pub mod process;
pub mod terminal;

use nix::errno::Errno;

/// The result of a raw system call: what is negative is an error and `errno` says which.
pub(crate) fn check(value: libc::c_long) -> Result<libc::c_long, Errno> {
    Errno::result(value)
}

/// Like [`check`], for calls that return a new descriptor.
pub(crate) fn check_fd(value: libc::c_long) -> Result<std::os::fd::OwnedFd, Errno> {
    use std::os::fd::FromRawFd;
    let raw = i32::try_from(check(value)?).map_err(|_| Errno::EBADF)?;
    // SAFETY: from_raw_fd needs an open descriptor that nobody else owns. The kernel returned it from a
    // call that makes a new one just now, and this is the only place that takes it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(raw) })
}
