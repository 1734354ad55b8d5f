//! The mount API by descriptors (Linux 5.2 and later): see open_tree(2), move_mount(2), fsopen(2),
//! mount_setattr(2). Nothing here follows a path that somebody else may change: callers give a directory
//! descriptor and, where a name is needed, a name below it.

use super::{check, check_fd};
use nix::errno::Errno;
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Attributes of a mount, `MOUNT_ATTR_*`.
pub mod attr {
    /// No writing.
    pub const RDONLY: u64 = 1;
    /// Set-uid bits and file capabilities are inert.
    pub const NOSUID: u64 = 2;
    /// Device nodes do not open.
    pub const NODEV: u64 = 4;
    /// Nothing is executed.
    pub const NOEXEC: u64 = 8;
    /// Access times are not written.
    pub const NOATIME: u64 = 0x10;
    /// Owners are translated by the map of a user namespace.
    pub const IDMAP: u64 = 0x0010_0000;
}

/// Whether [`open_tree`] and [`set_attributes`] take what is mounted below along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// This mount alone.
    One,
    /// And everything below it.
    All,
}

const OPEN_TREE_CLONE: libc::c_uint = 1;
const AT_RECURSIVE: libc::c_uint = 0x8000;
const AT_EMPTY_PATH: libc::c_uint = 0x1000;
const AT_SYMLINK_NOFOLLOW: libc::c_uint = 0x100;
const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 4;
const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
const FSOPEN_CLOEXEC: libc::c_uint = 1;
const FSMOUNT_CLOEXEC: libc::c_uint = 1;
const FSCONFIG_SET_FLAG: libc::c_uint = 0;
const FSCONFIG_SET_STRING: libc::c_uint = 1;
const FSCONFIG_SET_FD: libc::c_uint = 5;
const FSCONFIG_CMD_CREATE: libc::c_uint = 6;

fn depth_flag(depth: Depth) -> libc::c_uint {
    match depth {
        Depth::One => 0,
        Depth::All => AT_RECURSIVE,
    }
}

/// A detached copy of the mount at `name` below `dir` (`c""`: of `dir` itself). Symbolic links are not followed.
///
/// # Errors
/// As open_tree(2).
pub fn open_tree(dir: BorrowedFd<'_>, name: &CStr, depth: Depth) -> Result<OwnedFd, Errno> {
    let cloexec = libc::c_uint::try_from(libc::O_CLOEXEC).map_err(|_| Errno::EINVAL)?;
    let flags = OPEN_TREE_CLONE | cloexec | AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | depth_flag(depth);
    // SAFETY: open_tree reads a NUL-terminated string, which a CStr is, for the length of the call; `dir` is
    // borrowed and so open. It writes no memory of ours.
    check_fd(unsafe { libc::syscall(libc::SYS_open_tree, dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// Attaches a detached mount over the directory or file `to`, which is usually opened with `O_PATH`.
///
/// # Errors
/// As move_mount(2).
pub fn attach(mount: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let empty = c"".as_ptr();
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: move_mount reads two NUL-terminated strings, both the literal "", which lives for ever; both
    // descriptors are borrowed and so open. It writes no memory of ours.
    let done = unsafe {
        libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), empty, to.as_raw_fd(), empty, flags)
    };
    check(done).map(drop)
}

/// Sets and clears attributes of the mount at `dir`; `user_namespace` is the map for [`attr::IDMAP`].
///
/// # Errors
/// As mount_setattr(2).
pub fn set_attributes(
    dir: BorrowedFd<'_>,
    set: u64,
    clear: u64,
    user_namespace: Option<BorrowedFd<'_>>,
    depth: Depth,
) -> Result<(), Errno> {
    let userns_fd = user_namespace.map_or(0, |fd| u64::try_from(fd.as_raw_fd()).unwrap_or(0));
    let arguments = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd };
    let flags = AT_EMPTY_PATH | depth_flag(depth);
    let size = std::mem::size_of::<libc::mount_attr>();
    // SAFETY: mount_setattr reads a NUL-terminated string (the literal "") and `size` bytes at `arguments`,
    // which is a whole mount_attr on our stack that outlives the call; `dir` is borrowed and so open, and
    // userns_fd is 0 or the number of a borrowed descriptor. It writes no memory of ours.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            dir.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw const arguments,
            size,
        )
    };
    check(done).map(drop)
}

/// Begins a new file system of this type.
///
/// # Errors
/// As fsopen(2).
pub fn fsopen(fstype: &CStr) -> Result<OwnedFd, Errno> {
    // SAFETY: fsopen reads a NUL-terminated string, which a CStr is, borrowed for longer than the call. It writes
    // no memory of ours.
    check_fd(unsafe { libc::syscall(libc::SYS_fsopen, fstype.as_ptr(), FSOPEN_CLOEXEC) })
}

/// One option of a file system that was begun with [`fsopen`].
#[derive(Debug, Clone, Copy)]
pub enum Setting<'a> {
    /// A word alone.
    Flag,
    /// A word with a text.
    Text(&'a CStr),
    /// A word with an open file (Linux 6.13 for overlay layers).
    File(BorrowedFd<'a>),
}

/// Sets an option.
///
/// # Errors
/// As fsconfig(2).
pub fn configure(fs: BorrowedFd<'_>, key: &CStr, setting: Setting<'_>) -> Result<(), Errno> {
    let (command, value, aux) = match setting {
        Setting::Flag => (FSCONFIG_SET_FLAG, std::ptr::null(), 0),
        Setting::Text(text) => (FSCONFIG_SET_STRING, text.as_ptr(), 0),
        Setting::File(file) => (FSCONFIG_SET_FD, std::ptr::null(), file.as_raw_fd()),
    };
    // SAFETY: fsconfig reads the NUL-terminated key and, for SET_STRING alone, the NUL-terminated value; both
    // come from CStrs that outlive the call. Descriptors are borrowed. It writes no memory of ours.
    let done =
        unsafe { libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), command, key.as_ptr(), value, aux) };
    check(done).map(drop)
}

/// Makes the file system as configured and gives back a detached mount of it.
///
/// # Errors
/// As fsconfig(2) with `FSCONFIG_CMD_CREATE`, and fsmount(2).
pub fn create(fs: BorrowedFd<'_>, attributes: u64) -> Result<OwnedFd, Errno> {
    let nothing: *const libc::c_char = std::ptr::null();
    // SAFETY: fsconfig with CMD_CREATE takes no key and no value, so null is what it wants and it touches no memory
    // of ours; `fs` is borrowed and so open.
    let done = unsafe {
        libc::syscall(libc::SYS_fsconfig, fs.as_raw_fd(), FSCONFIG_CMD_CREATE, nothing, nothing, 0)
    };
    check(done)?;
    // SAFETY: fsmount takes numbers only, so it touches no memory of ours; `fs` is borrowed and so open.
    // What it returns is a new descriptor, as check_fd wants.
    check_fd(unsafe { libc::syscall(libc::SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attributes) })
}

/// Makes the current directory the root of this mount namespace and lets go of the old one.
///
/// # Errors
/// As pivot_root(2), umount2(2) and chdir(2).
pub fn pivot_into_current_directory() -> Result<(), Errno> {
    // SAFETY: pivot_root reads two NUL-terminated strings. Both are literals, which live for ever; it writes no
    // memory of ours.
    check(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })?;
    // The old root now lies over the new one at the same place: `.` is the old root, and goes.
    nix::mount::umount2(c".", nix::mount::MntFlags::MNT_DETACH)?;
    nix::unistd::chdir(c"/")
}
