//! Calls about images. The runtime has the store; nothing of it is kept here.

use super::{CallError, RuntimeClient};
use crate::limits;
use bulkhead_protocol::image::{FoundImage, IMAGE_PAGE, ImageName, ImageRow, ImportImage};
use bulkhead_protocol::runtime::{Call, ImagesOf, Reply};
use std::os::fd::OwnedFd;

impl RuntimeClient {
    /// The image of this name, the organisation's own before the host's.
    pub(crate) async fn resolve_image(
        &self,
        org: Option<String>,
        image: ImageName,
    ) -> Result<FoundImage, CallError> {
        match self.call(Call::ResolveImage { org, image }, limits::RUNTIME_QUICK).await? {
            Reply::Image(found) => Ok(found),
            _ => Err(CallError::Unexpected),
        }
    }

    /// The host's images and those of an organisation, the first [`limits::IMAGES`].
    pub(crate) async fn images(&self, org: &str) -> Result<Vec<ImageRow>, CallError> {
        let mut all = Vec::new();
        while all.len() < limits::IMAGES {
            let (of, skip) = (ImagesOf::Org(org.to_owned()), u64::try_from(all.len()).unwrap_or(u64::MAX));
            let page = match self.call(Call::ListImages { of, skip }, limits::RUNTIME_QUICK).await? {
                Reply::Images(page) => page,
                _ => return Err(CallError::Unexpected),
            };
            let last = page.len() < IMAGE_PAGE;
            all.extend(page);
            if last {
                break;
            }
        }
        Ok(all)
    }

    /// Makes an image of an archive. The runtime writes how far it is to `progress`.
    pub(crate) async fn import_image(
        &self,
        order: ImportImage,
        archive: OwnedFd,
        progress: OwnedFd,
    ) -> Result<ImageRow, CallError> {
        let descriptors = vec![archive, progress];
        match self.call_with(Call::ImportImage(order), descriptors, limits::RUNTIME_IMPORT).await? {
            Reply::Imported(row) => Ok(row),
            _ => Err(CallError::Unexpected),
        }
    }

    /// How many bytes may still be put beside the images.
    pub(crate) async fn image_room(&self) -> Result<u64, CallError> {
        match self.call(Call::ImageRoom, limits::RUNTIME_QUICK).await? {
            Reply::ImageRoom { bytes } => Ok(bytes),
            _ => Err(CallError::Unexpected),
        }
    }

    /// Takes a name of an organisation away.
    pub(crate) async fn remove_image(&self, org: String, image: ImageName) -> Result<(), CallError> {
        match self.call(Call::RemoveImage { org: Some(org), image }, limits::RUNTIME_QUICK).await? {
            Reply::ImageRemoved => Ok(()),
            _ => Err(CallError::Unexpected),
        }
    }
}
