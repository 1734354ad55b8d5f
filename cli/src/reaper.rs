//! `bulkhead reaper`: deletes the disks in the trash and ends. Started by the runtime.

use anyhow::Context;
use std::path::Path;

pub(crate) fn run(disks: &Path) -> anyhow::Result<()> {
    bulkhead_rootfs::disk::empty_trash(disks).context("empty the trash")
}
