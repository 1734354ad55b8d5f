//! The store of images and disks, as the launcher wants it.

use crate::config::{Layers, Settings};
use anyhow::Context;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::{
    Collected, FoundImage, ImageDetails, ImageId, ImageName, ImageRow, ImportImage,
};
use bulkhead_protocol::runtime::{Disk, ImagesOf};
use bulkhead_rootfs::disk::Use;
use bulkhead_rootfs::import::Failure;
use bulkhead_rootfs::{Sharing, Store};
use bulkhead_runtime::{ImportFailure, ImportTerms, NEUTRAL, Part, Root, RootError, Roots, Wish};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// The store of images, as the launcher wants it.
pub(super) struct ImageRoots(Store);

impl ImageRoots {
    pub(super) fn open(settings: &Settings, volume: &Path) -> anyhow::Result<Self> {
        let scratch = settings.run_dir.join("mounts/layers");
        let sharing = match settings.layers {
            Layers::Shared => Sharing::All,
            Layers::PerTenant => Sharing::Organisation,
        };
        let store = Store::open(&settings.state_dir, volume, &scratch, NEUTRAL, sharing);
        Ok(Self(store.context("open the store of images")?))
    }
}

impl Roots for ImageRoots {
    fn resolve(&self, org: Option<&str>, image: &ImageName) -> Option<FoundImage> {
        self.0.resolve(org, image)
    }

    fn has_image(&self, image: &ImageId) -> bool {
        self.0.has(image)
    }

    fn images(&self, of: &ImagesOf, skip: u64) -> Vec<ImageRow> {
        self.0.list(of, skip)
    }

    fn image(&self, org: Option<&str>, image: &ImageName) -> Result<Option<ImageDetails>, RootError> {
        Ok(self.0.inspect(org, image)?)
    }

    fn remove_image(&mut self, org: Option<&str>, image: &ImageName) -> Result<bool, RootError> {
        Ok(self.0.remove(org, image)?)
    }

    fn collect_images(&mut self) -> Result<Collected, RootError> {
        Ok(self.0.collect()?)
    }

    fn sweep_images(&mut self) -> Result<Collected, RootError> {
        Ok(self.0.sweep()?)
    }

    fn image_room(&self) -> u64 {
        self.0.image_room()
    }

    fn begin_import(&mut self, job: &str, order: &ImportImage) -> Result<ImportTerms, ImportFailure> {
        let terms = self.0.begin_import(job, order).map_err(of_store)?;
        Ok(ImportTerms { most: terms.most, owner: terms.owner })
    }

    fn finish_import(&mut self, job: &str, order: &ImportImage) -> Result<ImageRow, ImportFailure> {
        self.0.finish_import(job, order).map_err(of_store)
    }

    fn failed_import(&self, job: &str) -> ImportFailure {
        match self.0.failed_import(job) {
            Ok(Some(failure)) => of_import(failure),
            Ok(None) => ImportFailure::Failed("the importer died".into()),
            Err(error) => of_store(error),
        }
    }

    fn end_import(&mut self, job: &str) -> Result<(), RootError> {
        Ok(self.0.end_import(job)?)
    }

    fn prepare(&mut self, wish: Wish<'_>) -> Result<Root, RootError> {
        let made = self.0.prepare(bulkhead_rootfs::Wish {
            id: wish.id.as_str(),
            image: wish.image,
            hostname: wish.hostname,
            range: wish.range,
            disk: match wish.disk {
                Disk::New => Use::New,
                Disk::Kept => Use::Kept,
            },
            disk_bytes: wish.disk_bytes,
        })?;
        let part = |part: bulkhead_rootfs::Part| Part {
            at: part.at,
            mount: part.mount,
            kind: part.kind,
            options: part.options,
        };
        Ok(Root { root: made.root, parts: made.parts.into_iter().map(part).collect() })
    }

    fn show(&self, directory: BorrowedFd<'_>) -> Result<OwnedFd, RootError> {
        Ok(self.0.show(directory)?)
    }

    fn discard(&mut self, id: &SandboxId) -> Result<(), RootError> {
        Ok(self.0.disks().discard(id.as_str())?)
    }

    fn disk_limit(&self, id: &SandboxId) -> Result<Option<u64>, RootError> {
        Ok(self.0.disks().limit(id.as_str())?)
    }

    fn disk_used(&self, id: &SandboxId) -> Result<Option<u64>, RootError> {
        Ok(self.0.disks().used(id.as_str())?)
    }

    fn has_disk(&self, id: &SandboxId) -> Result<bool, RootError> {
        Ok(self.0.disks().exists(id.as_str())?)
    }

    fn disks(&self) -> Result<Vec<String>, RootError> {
        Ok(self.0.disks().list()?)
    }
}

fn of_store(error: bulkhead_rootfs::Error) -> ImportFailure {
    use bulkhead_rootfs::Error;
    match error {
        Error::Import(failure) => of_import(failure),
        error @ Error::TooManyNames(_) => ImportFailure::Refused(error.to_string()),
        error => ImportFailure::Failed(error.into()),
    }
}

fn of_import(failure: Failure) -> ImportFailure {
    match failure {
        Failure::Refused(text) => ImportFailure::Refused(text),
        Failure::NoRoom => ImportFailure::NoRoom,
        Failure::OverQuota(excess) => ImportFailure::OverQuota(excess),
        other => ImportFailure::Failed(other.into()),
    }
}
