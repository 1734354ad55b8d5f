//! A writable root from a read-only layer and the disk of one sandbox.

use crate::error::{Doing, Error, Result};
use crate::idmap::Maps;
use bulkhead_sys::call::mount::{self, Depth, Setting, attr};
use bulkhead_sys::error::Context;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// How overlayfs takes its layers. Descriptors of detached mounts came with Linux 6.13; before it a layer is a
/// path that must lie in the caller's mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerPassing {
    /// By descriptor; nothing is attached anywhere.
    ByDescriptor,
    /// By `/proc/self/fd/N`, of mounts that stand in our private namespace while the overlay is made.
    ByPath,
}

/// A detached copy of the mount that `dir` is in, rooted at `dir`, with owners translated.
pub(crate) fn mapped(dir: BorrowedFd<'_>, map: &OwnedFd, attributes: u64) -> Result<OwnedFd> {
    let copy = mount::open_tree(dir, c"", Depth::One)
        .during("open_tree", || "layer".into())
        .doing("copy a layer")?;
    mount::set_attributes(copy.as_fd(), attributes | attr::IDMAP, 0, Some(map.as_fd()), Depth::One)
        .during("mount_setattr", || format!("attributes {attributes:#x} and id map"))
        .doing("map the owners of a layer")?;
    Ok(copy)
}

/// The root of a sandbox: `layer` below, `disk` (with its `upper` and `work`) above.
pub(crate) fn root(
    layer: BorrowedFd<'_>,
    disk: BorrowedFd<'_>,
    maps: &Maps,
    passing: LayerPassing,
    scratch: Option<&Scratch>,
) -> Result<OwnedFd> {
    let lower = mapped(layer, &maps.neutral, attr::RDONLY | attr::NOSUID | attr::NODEV)?;
    let above = mapped(disk, &maps.neutral, attr::NOSUID | attr::NODEV)?;
    let _standing = match (passing, scratch) {
        (LayerPassing::ByPath, Some(scratch)) => Some(scratch.attach(&lower, &above)?),
        _ => None,
    };
    let upper = directory(above.as_fd(), c"upper")?;
    let work = directory(above.as_fd(), c"work")?;
    let root = make(&lower, &upper, &work, passing).doing("make the overlay")?;
    let flags =
        nix::sys::statvfs::fstatvfs(&root).during("fstatvfs", || "root".into()).doing("check the overlay")?;
    if flags.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY) {
        return Err(Error::ReadOnlyRoot);
    }
    Ok(root)
}

fn directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(parent, name, flags, Mode::empty())
        .during("openat", || name.to_string_lossy().into_owned())
        .doing("open a disk")
}

fn make(
    lower: &OwnedFd,
    upper: &OwnedFd,
    work: &OwnedFd,
    passing: LayerPassing,
) -> bulkhead_sys::Result<OwnedFd> {
    let fs = mount::fsopen(c"overlay").during("fsopen", || "overlay".into())?;
    let set = |key: &CStr, setting: Setting<'_>| {
        mount::configure(fs.as_fd(), key, setting)
            .during("fsconfig", || format!("overlay {} {setting:?}", key.to_string_lossy()))
    };
    match passing {
        LayerPassing::ByDescriptor => {
            set(c"lowerdir+", Setting::File(lower.as_fd()))?;
            set(c"upperdir", Setting::File(upper.as_fd()))?;
            set(c"workdir", Setting::File(work.as_fd()))?;
        }
        LayerPassing::ByPath => {
            set(c"lowerdir", Setting::Text(&proc_path(lower)?))?;
            set(c"upperdir", Setting::Text(&proc_path(upper)?))?;
            set(c"workdir", Setting::Text(&proc_path(work)?))?;
        }
    }
    // Said in full, since each default is a build option of the kernel: nothing in a layer may redirect.
    for (key, value) in
        [(c"redirect_dir", c"nofollow"), (c"metacopy", c"off"), (c"index", c"off"), (c"xino", c"off")]
    {
        set(key, Setting::Text(value))?;
    }
    // Without it the end of every sandbox flushes the whole file system under the disks, neighbours' writes
    // included: 0.5 s were seen on a busy host. A power cut loses what was not written back yet.
    set(c"volatile", Setting::Flag)?;
    mount::create(fs.as_fd(), attr::NOSUID | attr::NODEV).during("fsmount", || "overlay".into())
}

fn proc_path(fd: &OwnedFd) -> bulkhead_sys::Result<CString> {
    CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .map_err(|_| Errno::EINVAL)
        .during("open", String::new)
}

/// Two directories in our private mount namespace where layers stand while an overlay is made of them.
#[derive(Debug)]
pub(crate) struct Scratch {
    place: PathBuf,
    lower: OwnedFd,
    above: OwnedFd,
}

/// Layers that stand in the scratch directories until this is dropped.
struct Standing<'a>(&'a Path);

impl Scratch {
    /// A small file system of our own, never attached where anybody else could see it.
    pub(crate) fn new(place: &Path) -> Result<Self> {
        let fs =
            mount::fsopen(c"tmpfs").during("fsopen", || "tmpfs".into()).doing("make scratch directories")?;
        let made = mount::create(fs.as_fd(), attr::NOSUID | attr::NODEV | attr::NOEXEC)
            .during("fsmount", || "tmpfs".into())
            .doing("make scratch directories")?;
        // It must stand in this namespace for the layers to stand on it.
        let over =
            nix::fcntl::open(place, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
                .during("open", || place.display().to_string())
                .doing("make scratch directories")?;
        mount::attach(made.as_fd(), over.as_fd())
            .during("move_mount", || place.display().to_string())
            .doing("make scratch directories")?;
        let side = |name: &CStr| {
            nix::sys::stat::mkdirat(&made, name, Mode::S_IRWXU)
                .during("mkdirat", || name.to_string_lossy().into_owned())
                .doing("make scratch directories")?;
            directory(made.as_fd(), name)
        };
        Ok(Self { place: place.to_owned(), lower: side(c"lower")?, above: side(c"above")? })
    }

    fn attach(&self, lower: &OwnedFd, above: &OwnedFd) -> Result<Standing<'_>> {
        let standing = Standing(&self.place);
        for (mount, place) in [(lower, &self.lower), (above, &self.above)] {
            mount::attach(mount.as_fd(), place.as_fd())
                .during("move_mount", || "scratch".into())
                .doing("stand a layer in the scratch directory")?;
        }
        Ok(standing)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        // The overlay has private copies by now. A mount that stays here is invisible to everybody and goes
        // with the process, so a failure is not worth a launch; the next attach would stack on it.
        for name in ["lower", "above"] {
            match nix::mount::umount2(&self.0.join(name), nix::mount::MntFlags::MNT_DETACH) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

/// Which way this kernel takes layers: tried once, on empty directories.
pub(crate) fn probe(layer: BorrowedFd<'_>) -> Result<LayerPassing> {
    let copy = mount::open_tree(layer, c"", Depth::One)
        .during("open_tree", || "layer".into())
        .doing("probe overlay")?;
    let fs = mount::fsopen(c"overlay").during("fsopen", || "overlay".into()).doing("probe overlay")?;
    Ok(match mount::configure(fs.as_fd(), c"lowerdir+", Setting::File(copy.as_fd())) {
        Ok(()) => LayerPassing::ByDescriptor,
        Err(_) => LayerPassing::ByPath,
    })
}
