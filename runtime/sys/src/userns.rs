//! User namespaces without a process in them: the maps for id-mapped mounts (mount_setattr(2)).

use crate::call::exec::{self, Files, Side, exit_now, namespace};
use crate::call::process::set_parent_death_signal;
use crate::error::{Context, Error, Result};
use crate::pidfd;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};

/// How long a child that has nothing left to do may take to end, in milliseconds: on a host that is busy enough, a
/// process waits seconds for its turn.
const END_PATIENCE_MS: u16 = 10_000;

/// One line of `uid_map` and `gid_map`, see user_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First id inside (for a mount: on disk).
    pub inside: u32,
    /// First id outside (for a mount: as seen through it).
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// A run of host ids that one sandbox (or everything on disk) uses as its 0, 1, 2, ….
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdRange {
    /// Host id of the range's 0.
    pub base: u32,
    /// How many.
    pub count: u32,
}

/// Writes both maps of a process that has just entered a new user namespace.
///
/// # Errors
/// As write(2) on /proc/PID/uid_map.
pub fn write_maps(pid: i32, extents: &[Extent]) -> Result<()> {
    let mut text = String::new();
    for extent in extents {
        writeln!(text, "{} {} {}", extent.inside, extent.outside, extent.count)
            .expect("a String takes all text");
    }
    for file in ["uid_map", "gid_map"] {
        let path = format!("/proc/{pid}/{file}");
        std::fs::write(&path, &text).during("write", || path)?;
    }
    Ok(())
}

/// A user namespace with this map, held by nothing but the descriptor.
///
/// # Errors
/// As clone3(2), and writing the maps.
pub fn detached(extents: &[Extent]) -> Result<OwnedFd> {
    let parent = nix::unistd::getpid();
    // SAFETY: clone asks for one thread, or for a child that makes async-signal-safe calls only until it exits, and
    // for one that leaves shared descriptors alone; this one waits and exits.
    let side = unsafe { exec::clone(namespace::USER, None, Files::Shared) }
        .during("clone3", || "CLONE_NEWUSER".into())?;
    let Side::Parent(pid, process) = side else { wait_to_be_killed(parent) };
    let opened = write_maps(pid, extents).and_then(|()| open_namespace(pid));
    pidfd::signal(process.as_fd(), libc::SIGKILL)?;
    reap(&process)?;
    opened
}

/// The child of [`detached`]: lives until its parent kills it, or dies.
fn wait_to_be_killed(parent: nix::unistd::Pid) -> ! {
    let armed = set_parent_death_signal(libc::SIGKILL.unsigned_abs());
    // The parent may have died before.
    while armed.is_ok() && nix::unistd::getppid() == parent {
        nix::unistd::pause();
    }
    exit_now(1)
}

fn open_namespace(pid: i32) -> Result<OwnedFd> {
    let path = format!("/proc/{pid}/ns/user");
    nix::fcntl::open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).during("open", || path)
}

fn reap(process: &OwnedFd) -> Result<()> {
    let mut fds = [nix::poll::PollFd::new(process.as_fd(), nix::poll::PollFlags::POLLIN)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::from(END_PATIENCE_MS))
        .during("poll", || "pidfd".into())?;
    match pidfd::try_wait(process.as_fd())? {
        Some(_) => Ok(()),
        None => {
            Err(Error { call: "waitid", on: "child of a user namespace".into(), errno: Errno::ETIMEDOUT })
        }
    }
}
