//! Processes by descriptor: an identity that is never given to another process (pidfd_open(2)).

use crate::call::{check, check_fd};
use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Opens the process that has this number now. Who does not know that it is the right one checks afterwards.
///
/// # Errors
/// As pidfd_open(2); `ESRCH` when there is none.
pub fn open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: pidfd_open takes numbers only: it touches no memory of ours, and a number that names no process
    // is an error.
    check_fd(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) })
        .during("pidfd_open", || pid.to_string())
}

/// Sends a signal; a process that ended already is fine.
///
/// # Errors
/// As pidfd_send_signal(2), except `ESRCH`.
pub fn signal(process: BorrowedFd<'_>, number: i32) -> Result<()> {
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: pidfd_send_signal reads a siginfo unless the pointer is null, which it is, so it touches no memory
    // of ours; the descriptor is borrowed and so open.
    let sent =
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), number, no_info, 0u32) };
    match check(sent) {
        Ok(_) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno).during("pidfd_send_signal", || number.to_string()),
    }
}

/// How a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It called exit.
    Code(u8),
    /// A signal ended it.
    Signal(u8),
}

/// Waits for the end of a child, however long that takes; the child is reaped.
///
/// # Errors
/// As poll(2) and [`try_wait`].
pub fn wait(process: BorrowedFd<'_>) -> Result<Exit> {
    loop {
        let mut ended = [PollFd::new(process, PollFlags::POLLIN)];
        match poll(&mut ended, PollTimeout::NONE) {
            Err(Errno::EINTR) => {}
            done => drop(done.during("poll", || format!("pidfd {}", process.as_raw_fd()))?),
        }
        if let Some(exit) = try_wait(process)? {
            return Ok(exit);
        }
    }
}

/// The end of a child, if it has ended; the child is reaped.
///
/// # Errors
/// As waitid(2); `ECHILD` when the process is no child of the caller.
pub fn try_wait(process: BorrowedFd<'_>) -> Result<Option<Exit>> {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let status = waitid(Id::PIDFd(process), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG)
        .during("waitid", || format!("pidfd {}", process.as_raw_fd()))?;
    Ok(match status {
        WaitStatus::Exited(_, code) => Some(Exit::Code(u8::try_from(code & 0xff).unwrap_or(u8::MAX))),
        WaitStatus::Signaled(_, signal, _) => {
            Some(Exit::Signal(u8::try_from(signal as i32).unwrap_or(u8::MAX)))
        }
        _ => None,
    })
}
