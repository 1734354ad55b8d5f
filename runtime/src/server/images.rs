//! The calls about images that need no process of their own.

use super::Server;
use crate::conn::Waiter;
use crate::error::{Error, chain};
use crate::roots::RootError;
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::{RefusalKind, Reply};

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
        if !self.imports.is_empty() {
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

    fn refuse_for(&mut self, waiter: Waiter, error: RootError) {
        let error = Error::Root(error);
        Self::note(&error);
        self.refuse(waiter, error.kind(), chain(&error));
    }
}
