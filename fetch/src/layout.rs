//! The directory: an OCI image layout, once it is complete. Every name in it is ours or a digest that was checked.

use crate::digest::Digest;
use crate::error::Error;
use crate::manifest::Image;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// A directory that becomes a layout.
#[derive(Debug)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Makes the directories in it.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(Error::file("make the directory", blobs))?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// Where bytes lie that were checked.
    pub(crate) fn blob(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(digest.hex())
    }

    /// Where they lie before.
    pub(crate) fn part(&self, digest: &Digest) -> PathBuf {
        self.dir.join("blobs/sha256").join(format!("{}.part", digest.hex()))
    }

    /// Writes what names the blobs; afterwards it is a layout.
    pub(crate) fn complete(&self, image: &Image, tag: &str) -> Result<(), Error> {
        self.write(&self.blob(&image.digest), &image.bytes)?;
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{
                "mediaType": image.media_type,
                "digest": image.digest,
                "size": image.bytes.len(),
                "annotations": {"org.opencontainers.image.ref.name": tag},
            }],
        });
        self.write(&self.dir.join("index.json"), index.to_string().as_bytes())?;
        self.write(
            &self.dir.join("oci-layout"),
            json!({"imageLayoutVersion": "1.0.0"}).to_string().as_bytes(),
        )
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        fs::write(path, bytes).map_err(Error::file("write", path))
    }
}
