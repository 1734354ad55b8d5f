//! File systems made by the parent: detached, or standing at a place of our own.

use crate::call::mount::{self, Setting};
use crate::error::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Makes a file system with these options and gives back a detached mount of it.
///
/// # Errors
/// As fsopen(2), fsconfig(2) and fsmount(2).
pub fn make(fstype: &CStr, options: &[(&CStr, &CStr)], attributes: u64) -> Result<OwnedFd> {
    let label = || fstype.to_string_lossy().into_owned();
    let fs = mount::fsopen(fstype).during("fsopen", label)?;
    for (key, value) in options {
        mount::configure(fs.as_fd(), key, Setting::Text(value)).during("fsconfig", label)?;
    }
    mount::create(fs.as_fd(), attributes).during("fsmount", label)
}

/// Lets a mount stand at `place`, which is made where it is missing: only of what stands somewhere can parts be
/// copied or covered before Linux 6.15.
///
/// # Errors
/// As mkdir(2), open(2) and move_mount(2).
pub fn stand(made: BorrowedFd<'_>, place: &Path) -> Result<()> {
    let label = || place.display().to_string();
    match std::fs::create_dir(place) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        done => done.during("mkdir", label)?,
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let over = nix::fcntl::open(place, flags, Mode::empty()).during("open", label)?;
    mount::attach(made, over.as_fd()).during("move_mount", label)
}
