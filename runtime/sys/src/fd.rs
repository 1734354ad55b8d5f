//! Descriptors: where they come from and where they may stand.

use crate::error::{Context, Result};
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::MFdFlags;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

/// First number that [`high`] gives: above everything that a program expects at a fixed number.
pub const FIRST_HIGH: i32 = 16;

/// The same file at a number of at least [`FIRST_HIGH`], close-on-exec, so that laying out the low numbers of a
/// child cannot overwrite it.
///
/// # Errors
/// As fcntl(2) with `F_DUPFD_CLOEXEC`.
pub fn high(fd: &impl AsFd) -> Result<OwnedFd> {
    at_least(FIRST_HIGH, fd)
}

fn at_least(first: i32, fd: &impl AsFd) -> Result<OwnedFd> {
    let number = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(first)).during("fcntl", || "F_DUPFD_CLOEXEC".into())?;
    // SAFETY: from_raw_fd needs an open descriptor that nobody else owns. F_DUPFD_CLOEXEC made this one just now,
    // and its number is known here alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// First number that [`park`] gives.
///
/// Above what a launch has open at once, as a rule; below what any process may have open.
pub const FIRST_PARKED: i32 = 512;

/// The same file at a number of at least [`FIRST_PARKED`], close-on-exec: for what is kept for long and no child needs.
/// A child of [`crate::spawn::spawn_apart`] gets no copy of it, so a launch costs the same
/// however many there are. Where the process may have no such number (`EMFILE`, or `EINVAL` where its limit is below), the
/// descriptor stays as it is, and costs a copy.
#[must_use]
pub fn park(fd: OwnedFd) -> OwnedFd {
    at_least(FIRST_PARKED, &fd).unwrap_or(fd)
}

/// Takes a descriptor that this process inherited at a fixed number, and makes it close-on-exec.
///
/// What was inherited over exec is not close-on-exec, and whatever this program opened itself is; so the flag
/// tells the two apart, and a number is given away once.
///
/// # Errors
/// As fcntl(2); `EBADF` when nothing was inherited there.
pub fn inherited(number: i32) -> Result<OwnedFd> {
    // SAFETY: borrow_raw needs an open descriptor for as long as the borrow is used; it is used for fcntl
    // alone, which answers EBADF for a number that is not open.
    let borrowed = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
    let flags = fcntl(borrowed, FcntlArg::F_GETFD).during("fcntl", || number.to_string())?;
    if flags & libc::FD_CLOEXEC != 0 {
        return Err(nix::errno::Errno::EBADF).during("fcntl", || format!("{number} was not inherited"));
    }
    fcntl(borrowed, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))
        .during("fcntl", || number.to_string())?;
    // SAFETY: from_raw_fd needs an open descriptor that nobody else owns. It is open, fcntl says so; it was
    // not close-on-exec, so no owner in this program made it, and now it is, so no second call gets here.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// An anonymous file of these bytes that nobody can change any more, open for reading only.
///
/// Shared by every process that executes it (the CVE-2019-5736 family has nothing to overwrite).
///
/// # Errors
/// As memfd_create(2), write(2), fcntl(2) with `F_ADD_SEALS`, and open(2) through /proc.
pub fn sealed_program(name: &std::ffi::CStr, bytes: &[u8]) -> Result<OwnedFd> {
    use std::io::Write;
    let base = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // MFD_EXEC (Linux 6.3); before it every memfd may be executed and the flag is unknown.
    let executable = MFdFlags::from_bits_retain(0x10);
    let made = nix::sys::memfd::memfd_create(name, base | executable)
        .or_else(|_| nix::sys::memfd::memfd_create(name, base))
        .during("memfd_create", || name.to_string_lossy().into_owned())?;
    let mut file = std::fs::File::from(made);
    file.write_all(bytes).during("write", || "memfd".into())?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).during("fcntl", || "F_ADD_SEALS".into())?;
    reopen(&file, OFlag::O_RDONLY)
}

/// The same file opened anew, with other rights.
///
/// # Errors
/// As open(2).
pub fn reopen(fd: &impl AsFd, flags: OFlag) -> Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    nix::fcntl::open(path.as_str(), flags | OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
        .during("open", || path)
}

/// The next connection of a listening socket, non-blocking and close-on-exec; `None` when none is waiting.
///
/// # Errors
/// As accept4(2), except `EAGAIN`, `EINTR` and `ECONNABORTED`.
pub fn accept(listener: &impl AsFd) -> Result<Option<OwnedFd>> {
    use nix::errno::Errno;
    use nix::sys::socket::{SockFlag, accept4};
    use std::os::fd::AsRawFd;
    let number = match accept4(listener.as_fd().as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)
    {
        Ok(number) => number,
        Err(Errno::EAGAIN | Errno::EINTR | Errno::ECONNABORTED) => return Ok(None),
        Err(errno) => return Err(errno).during("accept4", String::new),
    };
    // SAFETY: from_raw_fd needs an open descriptor that nobody else owns. accept4 made this one just now, and its
    // number is known here alone.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}
