//! Pseudo terminals: ioctl_tty(2) on a master, and on the slave that a child takes as its own.

use super::{check, check_fd};
use nix::errno::Errno;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Lets the slave of this master be opened.
///
/// # Errors
/// As ioctl_tty(2) with `TIOCSPTLCK`.
pub fn unlock(master: BorrowedFd<'_>) -> Result<(), Errno> {
    let locked: libc::c_int = 0;
    // SAFETY: TIOCSPTLCK reads one int at the pointer, which lies on our stack and outlives the call. The
    // descriptor is borrowed and so open; on anything but a master the call is an error.
    check(libc::c_long::from(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) }))
        .map(drop)
}

/// The slave of this master, opened without any path (`TIOCGPTPEER`), and not as a controlling terminal.
///
/// # Errors
/// As ioctl_tty(2).
pub fn slave(master: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: TIOCGPTPEER takes its flags as a number, so it touches no memory of ours; the descriptor is borrowed
    // and so open. What it returns is a new descriptor, as check_fd wants.
    check_fd(libc::c_long::from(unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, flags) }))
}

/// Tells a terminal its size in characters; its foreground processes get `SIGWINCH` when that is news.
///
/// # Errors
/// As ioctl_tty(2) with `TIOCSWINSZ`.
pub fn resize(terminal: BorrowedFd<'_>, cols: u16, rows: u16) -> Result<(), Errno> {
    let size = libc::winsize { ws_row: rows, ws_col: cols, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize at the pointer, which lies whole on our stack and outlives the call. The
    // descriptor is borrowed and so open; on anything but a terminal the call is an error.
    check(libc::c_long::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }))
        .map(drop)
}

/// Makes an open terminal the controlling one of the calling process, which leads a session without one.
///
/// # Errors
/// As ioctl_tty(2) with `TIOCSCTTY`.
pub fn take_control(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: TIOCSCTTY takes a number, 0 for not stealing it from another session, so it touches no memory of
    // ours; the descriptor is borrowed and so open.
    check(libc::c_long::from(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY, 0) })).map(drop)
}

/// Tells the line discipline that input is UTF-8, so that erasing takes whole characters.
///
/// # Errors
/// As termios(3).
pub fn speak_utf8(terminal: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut settings = std::mem::MaybeUninit::<libc::termios>::uninit();
    // SAFETY: tcgetattr writes one termios at the pointer, for which there is room on our stack; the descriptor is
    // borrowed and so open.
    check(libc::c_long::from(unsafe { libc::tcgetattr(terminal.as_raw_fd(), settings.as_mut_ptr()) }))?;
    // SAFETY: assume_init needs every byte set. tcgetattr has just succeeded, which means that it wrote the
    // whole struct.
    let mut settings = unsafe { settings.assume_init() };
    settings.c_iflag |= libc::IUTF8;
    // SAFETY: tcsetattr reads one termios at the pointer, which is initialised and outlives the call; the
    // descriptor is borrowed and so open.
    check(libc::c_long::from(unsafe {
        libc::tcsetattr(terminal.as_raw_fd(), libc::TCSANOW, &raw const settings)
    }))
    .map(drop)
}
