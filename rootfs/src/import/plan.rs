//! What an image consists of, whichever form it came in.

mod docker;
mod oci;

use super::blob::Blob;
use super::config::{self, Described};
use super::digest::Digest;
use super::failure::{Outcome, refused};
use super::source::Source;

/// An image that is understood; nothing of its layers is read yet.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Of its configuration.
    pub(crate) id: Digest,
    pub(crate) described: Described,
    /// Lowest first, as many as there are digests in `described`.
    pub(crate) layers: Vec<Stored>,
}

/// A layer as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) blob: Blob,
    /// What its descriptor says of it; an archive of `docker save` says nothing.
    pub(crate) digest: Option<Digest>,
}

impl Plan {
    pub(crate) fn of(source: &Source) -> Outcome<Self> {
        // Docker writes both since version 25; the layout has digests.
        match (source.get("index.json"), source.get("manifest.json")) {
            (Some(index), _) => oci::plan(source, index),
            (None, Some(manifest)) => docker::plan(source, manifest),
            (None, None) => refused("the source has neither an index.json nor a manifest.json"),
        }
    }

    fn new(id: Digest, config: &[u8], layers: Vec<Stored>) -> Outcome<Self> {
        let described = config::parse(config)?;
        if layers.len() != described.diff_ids.len() {
            let (have, say) = (layers.len(), described.diff_ids.len());
            return refused(format!("the image has {have} layers, and its configuration speaks of {say}"));
        }
        if layers.is_empty() {
            return refused("the image has no layers");
        }
        Ok(Self { id, described, layers })
    }
}

/// JSON that a stranger wrote; a field that comes twice is no JSON for us.
fn understand<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Outcome<T> {
    match serde_json::from_slice(bytes) {
        Ok(value) => Ok(value),
        Err(error) => refused(format!("{what} is not understood: {error}")),
    }
}
