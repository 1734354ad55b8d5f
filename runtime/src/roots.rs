//! Where roots come from: a seam, so that this crate knows nothing of images.

use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::{FoundImage, ImageId, ImageName};
use bulkhead_protocol::runtime::Disk;
use bulkhead_sys::userns::IdRange;
use std::ffi::CString;
use std::os::fd::OwnedFd;

/// Any failure of a store.
pub type RootError = Box<dyn std::error::Error + Send + Sync>;

/// Detached mounts for one sandbox, owners already translated to its range.
#[derive(Debug)]
pub struct Root {
    /// The root itself.
    pub root: OwnedFd,
    /// Mounts over directories of it, relative to the root.
    pub mounts: Vec<(CString, OwnedFd)>,
}

/// What a root is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The sandbox.
    pub id: &'a SandboxId,
    /// The image of a new disk.
    pub image: &'a ImageId,
    /// Host name, for the files of `/etc`.
    pub hostname: &'a str,
    /// Who the owners on disk become.
    pub range: IdRange,
    /// Which disk.
    pub disk: Disk,
    /// Size of the disk in bytes.
    pub disk_bytes: u64,
}

/// A store of images and disks.
pub trait Roots {
    /// The image of this name, `org`'s own before the host's.
    fn resolve(&self, org: Option<&str>, image: &ImageName) -> Option<FoundImage>;

    /// Whether there is this image.
    fn has_image(&self, image: &ImageId) -> bool;

    /// Makes the disk of a sandbox, or takes the one that was kept, and makes a root from it. Nothing of an earlier
    /// launch on it may live.
    ///
    /// # Errors
    /// Whatever failed; [`Self::discard`] takes away what there is of a new disk.
    fn prepare(&mut self, wish: Wish<'_>) -> Result<Root, RootError>;

    /// Puts a disk out of reach; a missing one is fine.
    ///
    /// # Errors
    /// Whatever failed; the disk is still there then.
    fn discard(&mut self, id: &SandboxId) -> Result<(), RootError>;

    /// How large the disk of a sandbox may become in bytes, read back from what enforces it.
    ///
    /// # Errors
    /// Whatever failed.
    fn disk_limit(&self, id: &SandboxId) -> Result<Option<u64>, RootError>;

    /// Whether a sandbox has a disk.
    ///
    /// # Errors
    /// Whatever failed.
    fn has_disk(&self, id: &SandboxId) -> Result<bool, RootError>;

    /// The ids that have a disk.
    ///
    /// # Errors
    /// Whatever failed.
    fn disks(&self) -> Result<Vec<String>, RootError>;
}
