//! UTS namespaces of the calling process: a host name and a domain name, see uts_namespaces(7).

use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::Mode;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The UTS namespace that this process is in.
///
/// # Errors
/// As open(2).
pub fn current() -> Result<OwnedFd> {
    let path = "/proc/self/ns/uts";
    nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).during("open", || path.into())
}

/// Moves this process into a namespace that [`current`] named.
///
/// # Errors
/// As setns(2).
pub fn enter(namespace: &OwnedFd) -> Result<()> {
    setns(namespace, CloneFlags::CLONE_NEWUTS).during("setns", || "UTS namespace".into())
}

/// Moves this process into the UTS namespace of another, which is named by its pidfd.
///
/// # Errors
/// As setns(2): `ESRCH` when that process is gone.
pub fn enter_of(process: BorrowedFd<'_>) -> Result<()> {
    setns(process, CloneFlags::CLONE_NEWUTS).during("setns", || "UTS namespace of a process".into())
}

/// Sets the host name of the namespace that this process is in.
///
/// # Errors
/// As sethostname(2).
pub fn set_hostname(name: &str) -> Result<()> {
    // SAFETY: sethostname reads `len` bytes at the pointer, and these are the bytes of a `str` that is borrowed for the
    // length of the call.
    let done = unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) };
    Errno::result(done).map(drop).during("sethostname", String::new)
}

/// The host name of the namespace that this process is in.
///
/// # Errors
/// As gethostname(2).
pub fn hostname() -> Result<String> {
    let name = nix::unistd::gethostname().during("gethostname", String::new)?;
    Ok(name.to_string_lossy().into_owned())
}
