//! A terminal for an execution: the master stays with the agent, the slave becomes the command's standard streams.
//!
//! The slave is opened from the master, never by a path, which the sandbox could have put something else at.

use crate::capability;
use bulkhead_protocol::agent::{MAX_COLS, MAX_ROWS, Size, StartFailure, StartFailureKind};
use bulkhead_sys::call::terminal;
use bulkhead_sys::caps;
use bulkhead_sys::error::{Context, Error};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, fstat, major, minor};
use nix::unistd::{Gid, Uid};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where masters come from; /dev of a sandbox is read-only.
const MULTIPLEXER: &str = "/dev/ptmx";
/// Its device number.
const MULTIPLEXER_NUMBER: (u64, u64) = (5, 2);
/// The group that may write to any terminal: tty in every image, and what the mount of devpts says.
const TTY_GROUP: u32 = 5;
/// Its user reads and writes, the group writes.
const SLAVE_MODE: u32 = 0o620;

/// Both ends of a new terminal.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// Non-blocking.
    pub(crate) master: OwnedFd,
    /// For the command; the terminal's output ends when every copy of it is closed.
    pub(crate) slave: OwnedFd,
}

impl Terminal {
    /// A terminal of this size that belongs to this user.
    ///
    /// # Errors
    /// [`StartFailureKind::TerminalLimit`] when the sandbox has no more.
    pub(crate) fn open(size: Size, uid: u32) -> Result<Self, StartFailure> {
        Self::try_open(size, uid).map_err(|error| StartFailure {
            kind: match error.errno {
                Errno::ENOSPC | Errno::EMFILE | Errno::ENFILE => StartFailureKind::TerminalLimit,
                Errno::ENOMEM => StartFailureKind::MemoryLimit,
                _ => StartFailureKind::Internal,
            },
            errno: Some(error.errno as i32),
        })
    }

    fn try_open(size: Size, uid: u32) -> Result<Self, Error> {
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let on = || MULTIPLEXER.to_owned();
        let master = nix::fcntl::open(MULTIPLEXER, flags, Mode::empty()).during("open", on)?;
        let status = fstat(&master).during("fstat", on)?;
        let number = (major(status.st_rdev), minor(status.st_rdev));
        let kind = SFlag::from_bits_truncate(status.st_mode) & SFlag::S_IFMT;
        if kind != SFlag::S_IFCHR || number != MULTIPLEXER_NUMBER {
            return Err(Errno::ENODEV).during("open", on);
        }
        terminal::unlock(master.as_fd()).during("ioctl", || "TIOCSPTLCK".into())?;
        let slave = terminal::slave(master.as_fd()).during("ioctl", || "TIOCGPTPEER".into())?;
        resize(master.as_fd(), size).during("ioctl", || "TIOCSWINSZ".into())?;
        terminal::speak_utf8(slave.as_fd()).during("ioctl", || "IUTF8".into())?;
        // The mode first, while the agent still owns it.
        nix::sys::stat::fchmod(&slave, Mode::from_bits_truncate(SLAVE_MODE))
            .during("fchmod", || "terminal".into())?;
        capability::with(caps::CHOWN, || {
            let (user, group) = (Uid::from_raw(uid), Gid::from_raw(TTY_GROUP));
            nix::unistd::fchown(&slave, Some(user), Some(group)).during("fchown", || "terminal".into())
        })?;
        Ok(Self { master, slave })
    }
}

/// Tells a terminal its size.
///
/// # Errors
/// As ioctl_tty(2).
pub(crate) fn resize(master: BorrowedFd<'_>, size: Size) -> Result<(), Errno> {
    terminal::resize(master, size.cols, size.rows)
}

/// Whether a terminal may have this size.
pub(crate) fn is_valid(size: Size) -> bool {
    (1..=MAX_COLS).contains(&size.cols) && (1..=MAX_ROWS).contains(&size.rows)
}
