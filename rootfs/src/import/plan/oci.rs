//! The image layout of OCI: an index, manifests and blobs that are named by their digests.

use super::{Plan, Stored, understand};
use crate::import::blob::Blob;
use crate::import::digest::Digest;
use crate::import::failure::{Outcome, quoted, refused};
use crate::import::limits;
use crate::import::source::Source;
use serde::Deserialize;

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
/// Layers that are part of the image; how one is compressed is looked up in its bytes.
const LAYERS: [&str; 5] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
];

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
    #[serde(default)]
    urls: Option<Vec<String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Vec<Descriptor>,
    #[serde(default)]
    layers: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Option<serde::de::IgnoredAny>,
}

impl Descriptor {
    fn is_one_of(&self, types: &[&str]) -> bool {
        types.contains(&self.media_type.as_str())
    }

    /// What does not say for what it is may be for us.
    fn fits(&self) -> bool {
        let ours = |platform: &Platform| platform.os == "linux" && platform.architecture == "amd64";
        self.platform.as_ref().is_none_or(ours)
    }
}

pub(super) fn plan(source: &Source, index: &Blob) -> Outcome<Plan> {
    let bytes = index.read("index.json", limits::MANIFEST_BYTES)?;
    let mut found: Vec<Descriptor> = Vec::new();
    let mut left = limits::MANIFESTS;
    search(source, &bytes, 0, &mut left, &mut found)?;
    found.dedup_by(|one, other| one.digest == other.digest);
    match found.as_slice() {
        [manifest] => image(source, manifest),
        [] => refused("the source holds no image for linux on amd64"),
        more => {
            refused(format!("the source holds {} images for linux on amd64; give one with one", more.len()))
        }
    }
}

/// Collects the manifests of an index, and of those in it, that are for this kind of machine.
fn search(
    source: &Source,
    index: &[u8],
    depth: usize,
    left: &mut usize,
    found: &mut Vec<Descriptor>,
) -> Outcome {
    let index: Index = understand("an index", index)?;
    let typed = index.media_type.as_deref().is_none_or(|name| INDEXES.contains(&name));
    if index.schema_version != 2 || !typed || index.layers.is_some() {
        return refused("an index is of a kind that is not understood");
    }
    for entry in index.manifests.iter().filter(|entry| entry.fits()) {
        if entry.is_one_of(&MANIFESTS) {
            found.push(entry.clone());
        } else if entry.is_one_of(&INDEXES) {
            *left = left.saturating_sub(1);
            if depth >= limits::INDEX_DEPTH || *left == 0 {
                return refused("indexes lie in indexes without an end");
            }
            search(
                source,
                &fetch(source, "an index", limits::MANIFEST_BYTES, entry)?,
                depth + 1,
                left,
                found,
            )?;
        }
        if found.len() > limits::MANIFESTS {
            return refused("an index has too many manifests");
        }
    }
    Ok(())
}

fn image(source: &Source, manifest: &Descriptor) -> Outcome<Plan> {
    let bytes = fetch(source, "the manifest", limits::MANIFEST_BYTES, manifest)?;
    let wanted = manifest.media_type.as_str();
    let manifest: Manifest = understand("the manifest", &bytes)?;
    let typed = manifest.media_type.as_deref().is_none_or(|name| name == wanted);
    if manifest.schema_version != 2 || !typed || manifest.manifests.is_some() {
        return refused("the manifest can be read in two ways, or in none");
    }
    if !manifest.config.is_one_of(&CONFIGS) {
        let name = quoted(manifest.config.media_type.as_bytes());
        return refused(format!("the manifest is none of an image: its configuration is {name}"));
    }
    if manifest.layers.len() > limits::LAYERS {
        let count = manifest.layers.len();
        return refused(format!("the image has {count} layers; {} are allowed", limits::LAYERS));
    }
    let config = fetch(source, "the configuration", limits::CONFIG_BYTES, &manifest.config)?;
    let layers = manifest.layers.iter().map(|layer| stored(source, layer)).collect::<Outcome<_>>()?;
    Plan::new(Digest::of(&config), &config, layers)
}

fn stored(source: &Source, layer: &Descriptor) -> Outcome<Stored> {
    if !layer.is_one_of(&LAYERS) {
        let name = quoted(layer.media_type.as_bytes());
        return refused(format!("the image has a layer of a kind that is not understood: {name}"));
    }
    let digest = Digest::parse(&layer.digest)?;
    let blob = blob(source, layer, &digest)?;
    if blob.size != layer.size {
        let name = digest.as_str();
        return refused(format!("{name} has {} bytes, not {} as it should", blob.size, layer.size));
    }
    Ok(Stored { blob: blob.clone(), digest: Some(digest) })
}

fn fetch(source: &Source, what: &str, most: u64, descriptor: &Descriptor) -> Outcome<Vec<u8>> {
    let digest = Digest::parse(&descriptor.digest)?;
    blob(source, descriptor, &digest)?.read_checked(what, most, &digest, descriptor.size)
}

/// Nothing is ever fetched from elsewhere.
fn blob<'a>(source: &'a Source, descriptor: &Descriptor, digest: &Digest) -> Outcome<&'a Blob> {
    if descriptor.urls.as_ref().is_some_and(|urls| !urls.is_empty()) {
        return refused(format!("{} lies elsewhere, says its descriptor; bring it along", digest.as_str()));
    }
    match source.get(&format!("blobs/sha256/{}", digest.hex())) {
        Some(blob) => Ok(blob),
        None => refused(format!("the source lacks {}", digest.as_str())),
    }
}
