//! Overlays: a writable root from a read-only layer and the disk of one sandbox, and a read-only view of a
//! directory of the host.

pub(crate) mod passing;

use crate::error::{Doing, Error, Result};
use crate::idmap::Maps;
use bulkhead_sys::call::mount::{self, Depth, Setting, attr};
use bulkhead_sys::error::Context;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use passing::Passing;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How a view is mounted, and what it is made of.
const VIEW: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV;

/// The root of a sandbox: `layer` below, `disk` (with its `upper` and `work`) above.
pub(crate) fn root(
    layer: BorrowedFd<'_>,
    disk: BorrowedFd<'_>,
    maps: &Maps,
    how: &Passing,
) -> Result<OwnedFd> {
    let lower = mapped(layer, &maps.neutral, attr::RDONLY | attr::NOSUID | attr::NODEV)?;
    let above = mapped(disk, &maps.neutral, attr::NOSUID | attr::NODEV)?;
    let _standing = how.stand(&[&lower, &above])?;
    let upper = directory(above.as_fd(), c"upper")?;
    let work = directory(above.as_fd(), c"work")?;
    let root = make(&[&lower], Some((&upper, &work)), how).doing("make the overlay")?;
    let flags =
        nix::sys::statvfs::fstatvfs(&root).during("fstatvfs", || "root".into()).doing("check the overlay")?;
    if flags.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return Err(Error::ReadOnlyRoot);
    }
    Ok(root)
}

/// The host's directory `dir`, read-only, with inodes of the sandbox's own and owners translated.
///
/// A plain bind would share the host's inodes: whoever "owns" one could take a lease on it and hold up everybody
/// who opens the file, and an inotify watch on it tells what neighbours and the host run. A bind that is read-only
/// keeps nobody from connecting to a socket in it either, from writing to a FIFO, or from locking a file. An overlay
/// has inodes of its own; it wants two layers, so the second is the empty directory `nothing`.
pub(crate) fn read_only(
    dir: BorrowedFd<'_>,
    nothing: BorrowedFd<'_>,
    map: &OwnedFd,
    how: &Passing,
) -> Result<OwnedFd> {
    view(&mapped(dir, map, VIEW)?, &mapped(nothing, map, VIEW)?, how)
}

/// The same with owners as they are on the host, so that a sandbox has the rights of others and no more.
pub(crate) fn shown(dir: BorrowedFd<'_>, nothing: BorrowedFd<'_>, how: &Passing) -> Result<OwnedFd> {
    view(&copy(dir, VIEW, None)?, &copy(nothing, VIEW, None)?, how)
}

fn view(lower: &OwnedFd, empty: &OwnedFd, how: &Passing) -> Result<OwnedFd> {
    let _standing = how.stand(&[lower, empty])?;
    make(&[lower, empty], None, how).doing("make the overlay of a directory of the host")
}

/// A detached copy of the mount that `dir` is in, rooted at `dir`, with owners translated.
fn mapped(dir: BorrowedFd<'_>, map: &OwnedFd, attributes: u64) -> Result<OwnedFd> {
    copy(dir, attributes | attr::IDMAP, Some(map.as_fd()))
}

/// The same, by `map` where the attributes say that there is one.
fn copy(dir: BorrowedFd<'_>, attributes: u64, map: Option<BorrowedFd<'_>>) -> Result<OwnedFd> {
    let copy = mount::open_tree(dir, c"", Depth::One)
        .during("open_tree", || "layer".into())
        .doing("copy a layer")?;
    mount::set_attributes(copy.as_fd(), attributes, 0, map, Depth::One)
        .during("mount_setattr", || format!("attributes {attributes:#x}"))
        .doing("set how a layer is mounted")?;
    Ok(copy)
}

/// Opens a directory of a layer or a disk by its name, which is ours.
pub(crate) fn directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
        .during("openat", || name.to_string_lossy().into_owned())
        .doing("open a directory")
}

fn make(
    layers: &[&OwnedFd],
    above: Option<(&OwnedFd, &OwnedFd)>,
    how: &Passing,
) -> bulkhead_sys::Result<OwnedFd> {
    let fs = mount::fsopen(c"overlay").during("fsopen", || "overlay".into())?;
    let set = |key: &CStr, setting: Setting<'_>| {
        mount::configure(fs.as_fd(), key, setting)
            .during("fsconfig", || format!("overlay {} {setting:?}", key.to_string_lossy()))
    };
    how.pass(layers, above, &set)?;
    // Said in full, since each default is a build option of the kernel: nothing in a layer may redirect.
    for (key, value) in
        [(c"redirect_dir", c"nofollow"), (c"metacopy", c"off"), (c"index", c"off"), (c"xino", c"off")]
    {
        set(key, Setting::Text(value))?;
    }
    let mut attributes = attr::NOSUID | attr::NODEV;
    if above.is_some() {
        // Without it the end of every sandbox flushes the whole file system under the disks, neighbours' writes
        // included: 0.5 s were seen on a busy host. A power cut loses what was not written back yet.
        set(c"volatile", Setting::Flag)?;
    } else {
        attributes |= attr::RDONLY;
    }
    mount::create(fs.as_fd(), attributes).during("fsmount", || "overlay".into())
}
