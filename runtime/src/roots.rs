//! Where roots come from: a seam, so that this crate knows nothing of images.

use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::{
    Collected, FoundImage, ImageDetails, ImageExcess, ImageId, ImageName, ImageRow, ImportImage,
};
use bulkhead_protocol::runtime::{Disk, ImagesOf};
use bulkhead_sys::userns::IdRange;
use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

/// Any failure of a store.
pub type RootError = Box<dyn std::error::Error + Send + Sync>;

/// Detached mounts for one sandbox, owners already translated to its range.
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

/// What an import is told of its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportTerms {
    /// Bytes that the image may have, where its owner has a ceiling.
    pub most: Option<u64>,
    /// Who alone shall have what it makes; `None` is everybody.
    pub owner: Option<String>,
}

/// Why an import came to no image.
#[derive(Debug)]
pub enum ImportFailure {
    /// The source breaks a rule; the text is for who gave it.
    Refused(String),
    /// There is no room on the disk of the store.
    NoRoom,
    /// The owner would have more than it may.
    OverQuota(ImageExcess),
    /// A step failed.
    Failed(RootError),
}

/// A store of images and disks.
pub trait Roots {
    /// The image of this name, `org`'s own before the host's.
    fn resolve(&self, org: Option<&str>, image: &ImageName) -> Option<FoundImage>;

    /// Whether there is this image.
    fn has_image(&self, image: &ImageId) -> bool;

    /// A page of names in the order of owner and name, without the first `skip`.
    fn images(&self, of: &ImagesOf, skip: u64) -> Vec<ImageRow>;

    /// Everything about one image of exactly this owner.
    ///
    /// # Errors
    /// Whatever failed.
    fn image(&self, org: Option<&str>, image: &ImageName) -> Result<Option<ImageDetails>, RootError>;

    /// Takes a name away; false where it is not there.
    ///
    /// # Errors
    /// Whatever failed; the name is there then.
    fn remove_image(&mut self, org: Option<&str>, image: &ImageName) -> Result<bool, RootError>;

    /// Puts out of reach what no name and no disk needs. No import is under way.
    ///
    /// # Errors
    /// Whatever failed.
    fn collect_images(&mut self) -> Result<Collected, RootError>;

    /// The same with images that the last call found unneeded as well.
    ///
    /// # Errors
    /// Whatever failed.
    fn sweep_images(&mut self) -> Result<Collected, RootError>;

    /// How many bytes may still be put beside the images.
    fn image_room(&self) -> u64;

    /// Makes room for an import of this name, which its process finds by it, and says what that process is to be told.
    ///
    /// # Errors
    /// Whatever failed.
    fn begin_import(&mut self, job: &str, order: &ImportImage) -> Result<ImportTerms, ImportFailure>;

    /// The process of an import has ended well: the image gets its name.
    ///
    /// # Errors
    /// Whatever failed.
    fn finish_import(&mut self, job: &str, order: &ImportImage) -> Result<ImageRow, ImportFailure>;

    /// The process of an import has failed, or was killed: why.
    fn failed_import(&self, job: &str) -> ImportFailure;

    /// Puts what is left of an import out of reach; its process has ended.
    ///
    /// # Errors
    /// Whatever failed; the next start tries again.
    fn end_import(&mut self, job: &str) -> Result<(), RootError>;

    /// Makes the disk of a sandbox, or takes the one that was kept, and makes a root from it. Nothing of an earlier
    /// launch on it may live.
    ///
    /// # Errors
    /// Whatever failed; [`Self::discard`] takes away what there is of a new disk.
    fn prepare(&mut self, wish: Wish<'_>) -> Result<Root, RootError>;

    /// A view of a directory of the host: a detached mount, read-only, whose inodes are nobody else's.
    ///
    /// # Errors
    /// Whatever failed.
    fn show(&self, directory: BorrowedFd<'_>) -> Result<OwnedFd, RootError>;

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

    /// How many bytes the disk of a sandbox uses, a moment ago.
    ///
    /// # Errors
    /// Whatever failed.
    fn disk_used(&self, id: &SandboxId) -> Result<Option<u64>, RootError>;

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
