//! Images by name, and roots of sandboxes made from them.

mod shown;

use crate::disk::{Disks, Use};
use crate::error::{Doing, Error, Result};
use crate::etc;
use crate::host::Room;
use crate::host_image;
use crate::idmap::MapCache;
use crate::images::Images;
use crate::images::places::Places;
use crate::images::sharing::Sharing;
use crate::import::{Failure, Job};
use crate::overlay::{self, passing::Passing};
use bulkhead_protocol::image::{
    Collected, FoundImage, ImageDefaults, ImageDetails, ImageId, ImageName, ImageRow, ImportImage, MostLimits,
};
use bulkhead_protocol::runtime::ImagesOf;
use bulkhead_sys::error::Context;
use bulkhead_sys::userns::IdRange;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Full name of the built-in image.
const BUILT_IN: &str = "code:latest";

/// All images and disks of an instance.
#[derive(Debug)]
pub struct Store {
    state_dir: PathBuf,
    neutral: IdRange,
    images: Images,
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

/// What an import is told of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Bytes that the image may have, where its owner has a ceiling.
    pub most: Option<u64>,
    /// Who alone shall have what it makes; `None` is everybody.
    pub owner: Option<String>,
}

/// What a launch needs to enter a root: detached mounts, visible to nobody else.
#[derive(Debug)]
pub struct Root {
    /// The root itself.
    pub root: OwnedFd,
    /// Mounts over directories and files of it.
    pub parts: Vec<Part>,
}

/// A mount over a directory or file of a root.
#[derive(Debug)]
pub struct Part {
    /// Where, relative to the root.
    pub at: CString,
    /// The mount, detached.
    pub mount: OwnedFd,
    /// Its file system.
    pub kind: &'static str,
    /// How it is mounted, in the words of mount(8).
    pub options: &'static [&'static str],
}

impl Store {
    /// Opens the store of images in `<state-dir>/images` and of disks in `volume`, and makes the built-in image if
    /// it is not there. `neutral` is the id range that everything on disk belongs to; `scratch` a directory of
    /// ours that nobody else may enter; `sharing` says who has what is imported from here on.
    ///
    /// The calling process must be in a mount namespace of its own.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn open(
        state_dir: &Path,
        volume: &Path,
        scratch: &Path,
        neutral: IdRange,
        sharing: Sharing,
    ) -> Result<Self> {
        let directory = state_dir.join("images");
        let skeleton = open(&host_image::ensure(&directory, neutral.base)?)?;
        let nothing = overlay::directory(skeleton.as_fd(), c"mnt")?;
        let passing = Passing::probe(skeleton.as_fd(), scratch)?;
        Ok(Self {
            state_dir: state_dir.to_owned(),
            neutral,
            images: Images::open(Places::open(&directory)?, sharing)?,
            disks: Disks::open(volume, neutral.base)?,
            skeleton,
            host_usr: open(Path::new("/usr"))?,
            maps: MapCache::default(),
            nothing,
            passing,
            etc: etc::Place::probe(),
        })
    }

    /// The image of this name: `org`'s own, the host's, or the built-in one.
    #[must_use]
    pub fn resolve(&self, org: Option<&str>, name: &ImageName) -> Option<FoundImage> {
        let built_in = || FoundImage {
            name: name.clone(),
            id: ImageId::host(),
            defaults: ImageDefaults::default(),
            most: MostLimits::default(),
        };
        self.images.resolve(org, name).or_else(|| (name.as_str() == BUILT_IN).then(built_in))
    }

    /// Whether there is this image.
    #[must_use]
    pub fn has(&self, image: &ImageId) -> bool {
        image.is_host() || self.images.has(image)
    }

    /// A page of the names that were given.
    #[must_use]
    pub fn list(&self, of: &ImagesOf, skip: u64) -> Vec<ImageRow> {
        self.images.list(of, skip)
    }

    /// Everything about one image of exactly this owner.
    ///
    /// # Errors
    /// Whatever kept a disk from saying what it was made on.
    pub fn inspect(&self, org: Option<&str>, name: &ImageName) -> Result<Option<ImageDetails>> {
        self.images.inspect(org, name, &self.disks)
    }

    /// Makes the directory of an import, for a process of the neutral range, and says what that is to be told.
    ///
    /// # Errors
    /// [`Error::Import`] where its owner may have no other, or as mkdir(2).
    pub fn begin_import(&self, job: &str, order: &ImportImage) -> Result<Terms> {
        let most = self.images.room_for(order).map_err(Error::Import)?;
        let owner = self.images.owner(order).map(str::to_owned);
        self.images.places().make_job(job, self.neutral.base)?;
        Ok(Terms { most, owner })
    }

    /// Gives the image of a finished import its name.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn finish_import(&mut self, job: &str, order: &ImportImage) -> Result<ImageRow> {
        self.images.name(job, order)
    }

    /// Why an import came to no image.
    ///
    /// # Errors
    /// As open(2).
    pub fn failed_import(&self, job: &str) -> Result<Option<Failure>> {
        Ok(Job::new(self.images.places().open_job(job)?).failure())
    }

    /// Puts what is left of an import out of reach; nothing of it may run.
    ///
    /// # Errors
    /// As rename(2).
    pub fn end_import(&self, job: &str) -> Result<()> {
        self.images.places().discard_job(job)
    }

    /// Takes a name away; false where it is not there.
    ///
    /// # Errors
    /// As write(2); the name is there then.
    pub fn remove(&mut self, org: Option<&str>, name: &ImageName) -> Result<bool> {
        self.images.remove(org, name)
    }

    /// Puts out of reach what no name and no disk needs; no import may be under way.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn collect(&mut self) -> Result<Collected> {
        self.images.collect(&self.disks)
    }

    /// Does the same with images that the last call found unneeded as well.
    ///
    /// # Errors
    /// The first step that failed.
    pub fn sweep(&mut self) -> Result<Collected> {
        self.images.sweep(&self.disks)
    }

    /// How many bytes may still be put beside the images.
    #[must_use]
    pub fn image_room(&self) -> u64 {
        Room::of(&self.state_dir).for_images()
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
        let (disk, image) = match use_of {
            Use::New => (self.disks.create(id, disk_bytes, image)?, image.clone()),
            Use::Kept => {
                let disk = self.disks.reopen(id)?;
                let image = disk.image()?;
                (disk, image)
            }
        };
        let tree = if image.is_host() { None } else { Some(self.images.tree(&image)?) };
        let layer = tree.as_ref().unwrap_or(&self.skeleton);
        // Before the overlay: what lies on the disk must not change under it.
        let mut parts = etc::put(self.etc, hostname, range, &disk, use_of)?;
        let maps = self.maps.get(self.neutral, range)?;
        let root = overlay::root(layer.as_fd(), disk.directory(), maps, &self.passing)?;
        if use_of == Use::Kept {
            // After what is ours was written: a full disk must not keep its sandbox from starting again.
            self.disks.bound(&disk, disk_bytes)?;
            etc::keep_placeable(&mut parts, root.as_fd());
        }
        if image.is_host() {
            let (usr, nothing) = (self.host_usr.as_fd(), self.nothing.as_fd());
            let usr = overlay::read_only(usr, nothing, &maps.host, &self.passing)?;
            let options = &["ro", "nosuid", "nodev"];
            parts.push(Part { at: c"usr".to_owned(), mount: usr, kind: "overlay", options });
        }
        Ok(Root { root, parts })
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
