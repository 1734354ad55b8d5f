//! Network namespaces of the calling process.

use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::CloneFlags;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The network namespace that this process is in.
///
/// # Errors
/// As open(2).
pub fn current() -> Result<OwnedFd> {
    let path = "/proc/self/ns/net";
    nix::fcntl::open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).during("open", || path.into())
}

/// Moves this process into a namespace that [`current`] named.
///
/// # Errors
/// As setns(2).
pub fn enter(namespace: &OwnedFd) -> Result<()> {
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET).during("setns", || "network namespace".into())
}

/// Moves this process into a new, empty namespace, owned by its current user namespace.
///
/// # Errors
/// As unshare(2).
pub fn enter_new() -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).during("unshare", || "network namespace".into())
}

/// Brings the loopback interface of the current namespace up; the kernel gives it its addresses.
///
/// # Errors
/// As socket(2) and netdevice(7).
pub fn bring_loopback_up() -> Result<()> {
    let socket = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .during("socket", || "AF_INET".into())?;
    let mut name = [0; libc::IFNAMSIZ];
    for (to, from) in name.iter_mut().zip(b"lo") {
        *to = libc::c_char::try_from(*from).unwrap_or_default();
    }
    let flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    let request =
        libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags } };
    // SAFETY: SIOCSIFFLAGS reads one ifreq with a NUL-terminated name and ifru_flags set, which is what
    // `request` is; it outlives the call, and the descriptor is owned by this function.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(done).map(drop).during("ioctl", || "SIOCSIFFLAGS lo".into())
}

/// The user namespace that owns a namespace of any other kind, see ioctl_ns(2). Enters neither.
///
/// # Errors
/// As ioctl(2): `EPERM` when the owner is outside of the caller's own.
pub fn owner(namespace: &OwnedFd) -> Result<OwnedFd> {
    /// `NS_GET_USERNS`.
    const GET_OWNER: libc::c_ulong = 0xb701;
    // SAFETY: NS_GET_USERNS takes no argument beyond the descriptor, which is borrowed and so open for the call; on
    // a descriptor of another kind it is ENOTTY.
    let number = Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), GET_OWNER) })
        .during("ioctl", || "NS_GET_USERNS".into())?;
    // SAFETY: from_raw_fd needs an open descriptor that nobody else owns. The ioctl made this one just now,
    // close-on-exec, and its number is known here alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
