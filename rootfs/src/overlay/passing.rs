//! How overlayfs takes its layers: by descriptor of a detached mount (Linux 6.13), or before that as a path, which
//! must lie in the caller's mount namespace.

use super::directory;
use crate::error::{Doing, Result};
use bulkhead_sys::call::mount::{self, Depth, Setting, attr};
use bulkhead_sys::error::Context;
use bulkhead_sys::filesystem;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Names of the places where layers stand; no overlay of ours has more.
const PLACES: [&CStr; 2] = [c"0", c"1"];

/// What this kernel can do.
#[derive(Debug)]
pub(crate) enum Passing {
    /// By descriptor; nothing is attached anywhere.
    ByDescriptor,
    /// By `/proc/self/fd/N`, of mounts that stand in our private namespace while the overlay is made.
    ByPath(Scratch),
}

impl Passing {
    /// Tried once, on an overlay that is never made; `scratch` is a directory of ours for the second way.
    pub(crate) fn probe(layer: BorrowedFd<'_>, scratch: &Path) -> Result<Self> {
        let copy = mount::open_tree(layer, c"", Depth::One)
            .during("open_tree", || "layer".into())
            .doing("probe overlay")?;
        let fs = mount::fsopen(c"overlay").during("fsopen", || "overlay".into()).doing("probe overlay")?;
        Ok(match mount::configure(fs.as_fd(), c"lowerdir+", Setting::File(copy.as_fd())) {
            Ok(()) => Self::ByDescriptor,
            Err(_) => Self::ByPath(Scratch::new(scratch)?),
        })
    }

    /// Makes these mounts usable as layers until the result is dropped.
    pub(super) fn stand(&self, mounts: &[&OwnedFd]) -> Result<Option<Standing<'_>>> {
        match self {
            Self::ByDescriptor => Ok(None),
            Self::ByPath(scratch) => scratch.attach(mounts).map(Some),
        }
    }

    /// Tells an overlay its layers, topmost first, and its upper and work directory.
    pub(super) fn pass(
        &self,
        layers: &[&OwnedFd],
        above: Option<(&OwnedFd, &OwnedFd)>,
        set: &dyn Fn(&CStr, Setting<'_>) -> bulkhead_sys::Result<()>,
    ) -> bulkhead_sys::Result<()> {
        match self {
            Self::ByDescriptor => {
                layers.iter().try_for_each(|layer| set(c"lowerdir+", Setting::File(layer.as_fd())))?;
                let Some((upper, work)) = above else { return Ok(()) };
                set(c"upperdir", Setting::File(upper.as_fd()))?;
                set(c"workdir", Setting::File(work.as_fd()))
            }
            Self::ByPath(_) => {
                let paths: Vec<_> = layers.iter().map(|layer| proc_path(layer)).collect();
                set(c"lowerdir", Setting::Text(&text(paths.join(":"))?))?;
                let Some((upper, work)) = above else { return Ok(()) };
                set(c"upperdir", Setting::Text(&text(proc_path(upper))?))?;
                set(c"workdir", Setting::Text(&text(proc_path(work))?))
            }
        }
    }
}

fn proc_path(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

fn text(path: String) -> bulkhead_sys::Result<CString> {
    CString::new(path).map_err(|_| Errno::EINVAL).during("open", String::new)
}

/// Directories in our private mount namespace where layers stand while an overlay is made of them.
#[derive(Debug)]
pub(crate) struct Scratch {
    path: PathBuf,
    places: Vec<OwnedFd>,
}

/// Layers that stand in the scratch directories until this is dropped.
pub(super) struct Standing<'a> {
    path: &'a Path,
    count: usize,
}

impl Scratch {
    /// A small file system of our own, never attached where anybody else could see it.
    fn new(path: &Path) -> Result<Self> {
        const DOING: &str = "make scratch directories";
        let attributes = attr::NOSUID | attr::NODEV | attr::NOEXEC;
        let made = filesystem::make(c"tmpfs", &[], attributes).doing(DOING)?;
        // It must stand in this namespace for the layers to stand on it.
        filesystem::stand(made.as_fd(), path).doing(DOING)?;
        let place = |name: &&CStr| {
            nix::sys::stat::mkdirat(&made, *name, Mode::S_IRWXU)
                .during("mkdirat", || name.to_string_lossy().into_owned())
                .doing(DOING)?;
            directory(made.as_fd(), name)
        };
        Ok(Self { path: path.to_owned(), places: PLACES.iter().map(place).collect::<Result<_>>()? })
    }

    fn attach(&self, mounts: &[&OwnedFd]) -> Result<Standing<'_>> {
        let mut standing = Standing { path: &self.path, count: 0 };
        for (mount, place) in mounts.iter().zip(&self.places) {
            mount::attach(mount.as_fd(), place.as_fd())
                .during("move_mount", || "scratch".into())
                .doing("stand a layer in the scratch directory")?;
            standing.count += 1;
        }
        Ok(standing)
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        // The overlay has private copies by now. A mount that stays here is invisible to everybody and goes
        // with the process, so a failure is not worth a launch; the next attach would stack on it.
        for name in &PLACES[..self.count] {
            let path = self.path.join(name.to_string_lossy().as_ref());
            match nix::mount::umount2(&path, nix::mount::MntFlags::MNT_DETACH) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}
