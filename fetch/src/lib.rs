//! Fetches an image from a registry (OCI distribution) into a directory that becomes an OCI layout: every digest and
//! size is checked, and what broke off goes on where it ended.
//!
//! It believes nobody: a registry decides no path, no length and, but for what `http` allows, no host. It unpacks
//! nothing and knows nothing of a store. The one client of HTTP and TLS of the product lives here.

mod auth;
mod blob;
mod digest;
mod error;
mod http;
mod layout;
mod limits;
mod manifest;
mod reference;
mod registry;
#[cfg(test)]
mod tests;

pub use auth::Credentials;
pub use digest::Digest;
pub use error::Error;
pub use http::{Http, Roots};
pub use limits::{MAX_BYTES, SILENCE};
pub use reference::{InvalidReference, Reference};

use layout::Layout;
use registry::Registry;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to fetch, and how.
#[derive(Debug)]
pub struct Order {
    /// The image.
    pub reference: Reference,
    /// An existing directory; what an earlier attempt left in it is used.
    pub dir: PathBuf,
    /// Whether anything goes unencrypted.
    pub http: Http,
    /// Which certificates are believed.
    pub roots: Roots,
    /// Who asks.
    pub credentials: Credentials,
}

/// How far a fetch is; one JSON line each where a program listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Progress {
    /// A layer comes.
    Layer {
        /// From 1.
        number: u32,
        /// How many there are.
        of: u32,
        /// Bytes that are here.
        done: u64,
        /// Bytes that it has.
        total: u64,
    },
    /// All of it is here.
    Fetched {
        /// Digest of its manifest.
        manifest: Digest,
        /// Bytes of all layers, as they are stored.
        bytes: u64,
    },
}

/// Fetches an image; `watch` is called with every few bytes that come, so that a caller can end what stands still.
///
/// # Errors
/// [`Error`]; what has come stays in the directory and the next attempt uses it.
pub fn fetch(order: &Order, watch: &mut dyn FnMut(Progress)) -> Result<(), Error> {
    let layout = Layout::open(&order.dir)?;
    let mut registry = Registry::new(order)?;
    let image = registry.image()?;
    blob::fetch_one(&mut registry, &layout, &image.manifest.config, &mut |_| {})?;
    let of = u32::try_from(image.manifest.layers.len()).unwrap_or(u32::MAX);
    let mut bytes = 0;
    for (number, layer) in (1..).zip(&image.manifest.layers) {
        let total = layer.size;
        blob::fetch_one(&mut registry, &layout, layer, &mut |done| {
            watch(Progress::Layer { number, of, done, total });
        })?;
        bytes += total;
    }
    layout.complete(&image, order.reference.tag())?;
    watch(Progress::Fetched { manifest: image.digest, bytes });
    Ok(())
}
