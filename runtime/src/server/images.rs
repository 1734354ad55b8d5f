//! The calls about images that need no process of their own, and the sweeps, for which nobody has to call.

use super::Server;
use crate::conn::Waiter;
use crate::error::{Error, chain};
use crate::roots::RootError;
use bulkhead_protocol::image::{Collected, ImageName};
use bulkhead_protocol::runtime::{RefusalKind, Reply};
use std::time::{Duration, Instant};

/// When the next sweep is due.
#[derive(Debug)]
pub(super) struct Sweeps {
    every: Duration,
    pub(super) due: Instant,
}

impl Sweeps {
    pub(super) fn new(every: Duration) -> Self {
        Self { every, due: Instant::now() + every }
    }
}

impl Server {
    pub(super) fn inspect_image(&mut self, waiter: Waiter, org: Option<&str>, image: &ImageName) {
        match self.roots.image(org, image) {
            Ok(Some(details)) => self.answer(waiter, Reply::ImageDetails(Box::new(details))),
            Ok(None) => self.refuse(waiter, RefusalKind::UnknownImage, String::new()),
            Err(error) => self.refuse_for(waiter, error),
        }
    }

    pub(super) fn remove_image(&mut self, waiter: Waiter, org: Option<&str>, image: &ImageName) {
        match self.roots.remove_image(org, image) {
            Ok(true) => self.answer(waiter, Reply::ImageRemoved),
            Ok(false) => self.refuse(waiter, RefusalKind::UnknownImage, String::new()),
            Err(error) => self.refuse_for(waiter, error),
        }
    }

    /// An import counts on the layers that it found in the store, and on the image that it is about to name.
    pub(super) fn collect_images(&mut self, waiter: Waiter) {
        if !self.imports.is_idle() {
            return self.refuse(waiter, RefusalKind::Busy, "an import is under way".into());
        }
        match self.roots.collect_images() {
            Ok(collected) => {
                self.reaper.start(&mut self.poll);
                self.answer(waiter, Reply::Collected(collected));
            }
            Err(error) => self.refuse_for(waiter, error),
        }
    }

    /// Deletes images that nothing needs any more. An import that goes on puts it off, so none begins while one is due.
    pub(super) fn sweep_images(&mut self) {
        if Instant::now() < self.sweeps.due || !self.imports.is_idle() {
            return;
        }
        self.sweeps.due = Instant::now() + self.sweeps.every;
        match self.roots.sweep_images() {
            Ok(Collected { images: 0, layers: 0 }) => {}
            Ok(Collected { images, layers }) => {
                tracing::info!(images, layers, "deleted what nothing needs");
                self.reaper.start(&mut self.poll);
            }
            Err(error) => Self::note(&Error::Root(error)),
        }
    }

    fn refuse_for(&mut self, waiter: Waiter, error: RootError) {
        let error = Error::Root(error);
        Self::note(&error);
        self.refuse(waiter, error.kind(), chain(&error));
    }
}
