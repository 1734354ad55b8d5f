//! `bulkhead reaper`: deletes the disks and images in the trash and ends. Started by the runtime.

use anyhow::Context;
use std::path::Path;

pub(crate) fn run(disks: &Path, images: &Path) -> anyhow::Result<()> {
    // A disk that stays keeps no image.
    let gone = bulkhead_rootfs::disk::empty_trash(disks).context("empty the trash");
    bulkhead_rootfs::empty_trash(images).context("empty the trash of the store of images")?;
    gone
}
