//! clone3(2), execveat(2) and what belongs between them.

use super::{check, check_fd};
use nix::errno::Errno;
use std::convert::Infallible;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const CLONE_FILES: u64 = 0x400;
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// New namespaces for a clone, `CLONE_NEW*`.
pub mod namespace {
    /// Mounts.
    pub const MOUNT: u64 = 0x0002_0000;
    /// Roots of control groups.
    pub const CGROUP: u64 = 0x0200_0000;
    /// Host name.
    pub const UTS: u64 = 0x0400_0000;
    /// System V IPC and message queues.
    pub const IPC: u64 = 0x0800_0000;
    /// Users and capabilities.
    pub const USER: u64 = 0x1000_0000;
    /// Processes.
    pub const PID: u64 = 0x2000_0000;
    /// Network.
    pub const NET: u64 = 0x4000_0000;
}

/// Which side of a clone this is.
#[derive(Debug)]
pub enum Side {
    /// The caller; the child is named by its pid as the caller sees it, and by a descriptor.
    Parent(i32, OwnedFd),
    /// The new process.
    Child,
}

/// What a clone has of its parent's table of descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// A copy, which costs time for each descriptor, now and when it is closed.
    Copied,
    /// The table itself, until the child takes one of its own, executes a program or ends.
    Shared,
}

/// Clones the calling process like fork(2), into new namespaces and, where given, straight into a v2 cgroup.
///
/// # Safety
/// The caller has one thread, or the child does nothing but async-signal-safe calls until it executes another
/// program or exits: a lock that another thread held stays locked in the child for ever. A child that shares
/// [`Files`] closes and replaces no descriptor as long as it does, and its parent none that the child uses.
///
/// # Errors
/// As clone3(2).
pub unsafe fn clone(namespaces: u64, cgroup: Option<BorrowedFd<'_>>, files: Files) -> Result<Side, Errno> {
    let mut pidfd: i32 = -1;
    let mut flags = namespaces | CLONE_PIDFD;
    if files == Files::Shared {
        flags |= CLONE_FILES;
    }
    let mut target = 0;
    if let Some(group) = cgroup {
        flags |= CLONE_INTO_CGROUP;
        target = u64::try_from(group.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    }
    let mut arguments = libc::clone_args {
        flags,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: target,
    };
    let size = std::mem::size_of::<libc::clone_args>();
    // SAFETY: clone3 reads `size` bytes at `arguments`, a whole clone_args on our stack, and writes an int at
    // `pidfd`, which outlives the call. Without CLONE_VM and with stack 0 the child goes on on its own copy of
    // this stack, as after fork(2); the conditions on threads and on descriptors are passed on to our caller.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) })?;
    if pid == 0 {
        return Ok(Side::Child);
    }
    let pid = i32::try_from(pid).map_err(|_| Errno::EINVAL)?;
    Ok(Side::Parent(pid, check_fd(libc::c_long::from(pidfd))?))
}

/// Strings as execve(2) wants them: a null-terminated array of pointers, built before the clone.
#[derive(Debug)]
pub struct Strings {
    // The pointers are into the heap blocks of these strings, which do not move when this struct does.
    owned: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Strings {
    /// Takes words that hold no NUL, in order.
    ///
    /// # Errors
    /// `EINVAL` for one that does.
    pub fn of_words<'w>(words: impl IntoIterator<Item = &'w str>) -> Result<Self, Errno> {
        let owned = words.into_iter().map(|word| CString::new(word).map_err(|_| Errno::EINVAL));
        owned.collect::<Result<_, _>>().map(Self::new)
    }

    /// Takes the strings in order.
    #[must_use]
    pub fn new(owned: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = owned.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { owned, pointers }
    }

    /// The strings.
    #[must_use]
    pub fn texts(&self) -> &[CString] {
        &self.owned
    }
}

/// Executes the program that `file` is open on; returns only on failure.
///
/// # Errors
/// As execveat(2).
pub fn execute_file(file: BorrowedFd<'_>, argv: &Strings, envp: &Strings) -> Result<Infallible, Errno> {
    let (argv, envp) = (argv.pointers.as_ptr(), envp.pointers.as_ptr());
    let (fd, empty) = (file.as_raw_fd(), c"".as_ptr());
    // SAFETY: execveat reads a NUL-terminated literal and two null-terminated arrays of pointers to
    // NUL-terminated strings, which `Strings` holds together for as long as it lives. On success nothing of
    // this program is left; on failure no memory was written.
    match check(unsafe { libc::syscall(libc::SYS_execveat, fd, empty, argv, envp, libc::AT_EMPTY_PATH) }) {
        Err(errno) => Err(errno),
        Ok(_) => Err(Errno::EINVAL),
    }
}

/// Executes the program at `path`; returns only on failure.
///
/// # Errors
/// As execve(2).
pub fn execute_path(path: &CStr, argv: &Strings, envp: &Strings) -> Result<Infallible, Errno> {
    // SAFETY: execve reads a NUL-terminated path and two null-terminated arrays of pointers to NUL-terminated
    // strings, which `Strings` holds together for as long as it lives; it returns only on failure.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    Err(Errno::last())
}

/// Ends the process at once: no destructors, no buffers, no handlers.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: _exit takes a number, touches no memory and does not return. That our destructors do not run is its
    // purpose: in a child after clone they belong to the parent.
    unsafe { libc::_exit(status) }
}

/// Gives the calling process a table of descriptors of its own, with copies of those below `first` alone.
///
/// For a child of [`Files::Shared`]: in a process that shares its table with nobody this closes them.
///
/// # Errors
/// As close_range(2).
pub(crate) fn own_descriptors_below(first: i32) -> Result<(), Errno> {
    // SAFETY: close_range takes numbers. With CLOSE_RANGE_UNSHARE the table of a process that shares one is left as
    // it is, so no owner there is betrayed; the caller is a child before exec, whose ops hold no descriptor from
    // `first` on.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    })
    .map(drop)
}

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// As close_range(2).
pub fn close_on_exec_from(first: i32) -> Result<(), Errno> {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC takes numbers and closes nothing by itself, so no owner of
    // a descriptor in this process is betrayed.
    check(unsafe {
        libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
    })
    .map(drop)
}

/// Gives `target` the file of `source`, without close-on-exec. They must differ.
///
/// # Errors
/// As dup3(2).
pub fn place(source: BorrowedFd<'_>, target: i32) -> Result<(), Errno> {
    // SAFETY: dup3 takes numbers. It replaces whatever `target` was, which this process owns: callers are
    // children before exec that lay out the first few descriptors for the next program.
    check(libc::c_long::from(unsafe { libc::dup3(source.as_raw_fd(), target, 0) })).map(drop)
}
