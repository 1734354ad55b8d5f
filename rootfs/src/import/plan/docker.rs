//! Archives of `docker save`: one `manifest.json` that names a configuration and layers by their place in the archive.

use super::{Plan, Stored, understand};
use crate::import::blob::Blob;
use crate::import::digest::Digest;
use crate::import::failure::{Outcome, quoted, refused};
use crate::import::limits;
use crate::import::source::Source;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    config: String,
    layers: Vec<String>,
}

pub(super) fn plan(source: &Source, manifest: &Blob) -> Outcome<Plan> {
    let bytes = manifest.read("manifest.json", limits::MANIFEST_BYTES)?;
    let images: Vec<Image> = understand("manifest.json", &bytes)?;
    let [image] = images.as_slice() else {
        return refused(format!("the archive has {} images; give one with one", images.len()));
    };
    let member = |name: &String| match source.get(name) {
        Some(blob) => Ok(blob),
        None => refused(format!("the archive lacks {}", quoted(name.as_bytes()))),
    };
    let config = member(&image.config)?.read("the configuration", limits::CONFIG_BYTES)?;
    let stored = |name| member(name).map(|blob| Stored { blob: blob.clone(), digest: None });
    Plan::new(Digest::of(&config), &config, image.layers.iter().map(stored).collect::<Outcome<_>>()?)
}
