//! What a registry can make grow, and its bound.

use std::time::Duration;

/// Bytes of a manifest, an index or a configuration (the distribution specification promises 4 MiB).
pub(crate) const MANIFEST: u64 = 4 << 20;
/// Layers of one image: as many as an overlay can be made of.
pub(crate) const LAYERS: usize = 128;
/// Bytes of all layers of one image, as they are stored.
pub const MAX_BYTES: u64 = 32 << 30;
/// Indexes within indexes.
pub(crate) const INDEXES: u32 = 3;
/// Entries of one index.
pub(crate) const INDEX_ENTRIES: usize = 1024;
/// Redirects of one request.
pub(crate) const REDIRECTS: u32 = 5;
/// Bytes of an answer with a token.
pub(crate) const TOKEN: u64 = 64 << 10;
/// Bytes of the headers of an answer.
pub(crate) const HEADERS: usize = 32 << 10;
/// Bytes of one text from a registry in a message.
pub(crate) const SHOWN: usize = 200;
/// Looking up a name, connecting, and the head of an answer, each.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// After so long without a byte the program that fetches is ended.
pub const SILENCE: Duration = Duration::from_secs(60);
/// Times that a layer goes on after its connection broke; one that brought bytes counts anew.
pub(crate) const RETRIES: u32 = 4;
/// Pause before the first of them; it doubles.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);
/// Bytes of one read.
pub(crate) const READ: usize = 64 << 10;
