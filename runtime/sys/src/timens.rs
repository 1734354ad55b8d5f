//! Time namespaces of the calling process, see time_namespaces(7).

use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::stat::Mode;
use nix::time::{ClockId, clock_gettime};
use std::os::fd::OwnedFd;

/// `CLONE_NEWTIME`, which nix does not know.
const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// The time namespace that this process is in; `None` where the kernel has none (`CONFIG_TIME_NS`).
///
/// # Errors
/// As open(2), except `ENOENT`.
pub fn current() -> Result<Option<OwnedFd>> {
    let path = "/proc/self/ns/time";
    match nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(None),
        opened => opened.map(Some).during("open", || path.into()),
    }
}

/// From now on children of this process live in a new namespace whose clocks since boot begin now.
///
/// # Errors
/// As unshare(2) and write(2).
pub fn begin_for_children() -> Result<()> {
    nix::sched::unshare(NEW_TIME).during("unshare", || "time namespace".into())?;
    let since = |clock| clock_gettime(clock).during("clock_gettime", String::new).map(|time| time.tv_sec());
    let (monotonic, boot) = (since(ClockId::CLOCK_MONOTONIC)?, since(ClockId::CLOCK_BOOTTIME)?);
    let path = "/proc/self/timens_offsets";
    std::fs::write(path, format!("monotonic -{monotonic} 0\nboottime -{boot} 0\n"))
        .during("write", || path.into())
}

/// Children live in this namespace again. This process must have one thread.
///
/// # Errors
/// As setns(2).
pub fn enter(namespace: &OwnedFd) -> Result<()> {
    nix::sched::setns(namespace, NEW_TIME).during("setns", || "time namespace".into())
}
