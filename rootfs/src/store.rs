//! Images by name, and roots of sandboxes made from them.

use crate::disk::{Disks, Use};
use crate::error::{Doing, Error, Result};
use crate::etc;
use crate::host_image;
use crate::idmap::MapCache;
use crate::overlay::{self, passing::Passing};
use bulkhead_protocol::image::{FoundImage, ImageDefaults, ImageId, ImageName};
use bulkhead_sys::error::Context;
use bulkhead_sys::userns::IdRange;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Full name of the built-in image.
const BUILT_IN: &str = "code:latest";

/// All images and disks of an instance.
#[derive(Debug)]
pub struct Store {
    neutral: IdRange,
    disks: Disks,
    skeleton: OwnedFd,
    host_usr: OwnedFd,
    maps: MapCache,
    nothing: OwnedFd,
    passing: Passing,
    etc: etc::Place,
}

/// What a root is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The sandbox.
    pub id: &'a str,
    /// The image of a new disk.
    pub image: &'a ImageId,
    /// Host name, for the files of `/etc`.
    pub hostname: &'a str,
    /// Who the owners on disk become.
    pub range: IdRange,
    /// Which disk.
    pub disk: Use,
    /// Size of the disk in bytes.
    pub disk_bytes: u64,
}

/// What a launch needs to enter a root: detached mounts, visible to nobody else.
#[derive(Debug)]
pub struct Root {
    /// The root itself.
    pub root: OwnedFd,
    /// Mounts over directories and files of it, relative to the root.
    pub mounts: Vec<(CString, OwnedFd)>,
}

impl Store {
    /// Opens the store of images in `<state-dir>/images` and of disks in `volume`, and makes the built-in image if
    /// it is not there. `neutral` is the id range that everything on disk belongs to; `scratch` a directory of
    /// ours that nobody else may enter.
    ///
    /// The calling process must be in a mount namespace of its own.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn open(state_dir: &Path, volume: &Path, scratch: &Path, neutral: IdRange) -> Result<Self> {
        let skeleton = open(&host_image::ensure(&state_dir.join("images"), neutral.base)?)?;
        let nothing = overlay::directory(skeleton.as_fd(), c"mnt")?;
        let passing = Passing::probe(skeleton.as_fd(), scratch)?;
        Ok(Self {
            neutral,
            disks: Disks::open(volume, neutral.base)?,
            skeleton,
            host_usr: open(Path::new("/usr"))?,
            maps: MapCache::default(),
            nothing,
            passing,
            etc: etc::Place::probe(),
        })
    }

    /// The image of this name: the built-in one for everybody.
    #[must_use]
    pub fn resolve(&self, _org: Option<&str>, name: &ImageName) -> Option<FoundImage> {
        (name.as_str() == BUILT_IN).then(|| FoundImage {
            name: name.clone(),
            id: ImageId::host(),
            defaults: ImageDefaults::default(),
        })
    }

    /// Whether there is this image.
    #[must_use]
    pub fn has(&self, image: &ImageId) -> bool {
        image.is_host()
    }

    /// Makes the disk of a sandbox, or takes the one that was kept, and makes a root from it.
    ///
    /// # Errors
    /// The first step that failed; a new disk may exist then, [`Disks::discard`] takes it away.
    pub fn prepare(&mut self, wish: Wish<'_>) -> Result<Root> {
        let Wish { id, image, hostname, range, disk: use_of, disk_bytes } = wish;
        if use_of == Use::New && !self.has(image) {
            return Err(Error::UnknownImage(image.to_string()));
        }
        let disk = match use_of {
            Use::New => self.disks.create(id, disk_bytes)?,
            Use::Kept => self.disks.reopen(id)?,
        };
        // Before the overlay: what lies on the disk must not change under it.
        let mut mounts = etc::put(self.etc, hostname, range, &disk, use_of)?;
        let maps = self.maps.get(self.neutral, range)?;
        let root = overlay::root(self.skeleton.as_fd(), disk.directory(), maps, &self.passing)?;
        if use_of == Use::Kept {
            // After what is ours was written: a full disk must not keep its sandbox from starting again.
            self.disks.bound(&disk, disk_bytes)?;
            etc::keep_placeable(&mut mounts, root.as_fd());
        }
        let (usr, nothing) = (self.host_usr.as_fd(), self.nothing.as_fd());
        let usr = overlay::read_only(usr, nothing, &maps.host, &self.passing)?;
        mounts.push((c"usr".to_owned(), usr));
        Ok(Root { root, mounts })
    }

    /// The disks.
    #[must_use]
    pub fn disks(&self) -> &Disks {
        &self.disks
    }
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty())
        .during("open", || path.display().to_string())
        .doing("open a directory of the store")
}
