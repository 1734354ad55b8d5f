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

/// The host's directory `dir`, read-only, with inodes of the sandbox's own.
///
/// A plain bind would share the host's inodes: whoever "owns" one could take a lease on it and hold up everybody
/// who opens the file, and an inotify watch on it tells what neighbours and the host run. An overlay has inodes of
/// its own; it wants two layers, so the second is the empty directory `nothing`.
pub(crate) fn read_only(
    dir: BorrowedFd<'_>,
    nothing: BorrowedFd<'_>,
    map: &OwnedFd,
    how: &Passing,
) -> Result<OwnedFd> {
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV;
    let (lower, empty) = (mapped(dir, map, attributes)?, mapped(nothing, map, attributes)?);
    let _standing = how.stand(&[&lower, &empty])?;
    make(&[&lower, &empty], None, how).doing("make the overlay of a directory of the host")
}

/// A detached copy of the mount that `dir` is in, rooted at `dir`, with owners translated.
fn mapped(dir: BorrowedFd<'_>, map: &OwnedFd, attributes: u64) -> Result<OwnedFd> {
    let copy = mount::open_tree(dir, c"", Depth::One)
        .during("open_tree", || "layer".into())
        .doing("copy a layer")?;
    mount::set_attributes(copy.as_fd(), attributes | attr::IDMAP, 0, Some(map.as_fd()), Depth::One)
        .during("mount_setattr", || format!("attributes {attributes:#x} and id map"))
        .doing("map the owners of a layer")?;
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
