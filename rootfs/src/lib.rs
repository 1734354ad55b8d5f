//! Images and root file systems: what a sandbox sees as `/`.
//!
//! Runs in the privileged runtime process and knows nothing of processes. [`Store::prepare`] hands over detached
//! mounts by descriptor; nothing is ever attached in a namespace of the host, and nothing below a live sandbox's
//! disk is opened by path.

mod accounts;
pub mod disk;
mod error;
mod etc;
pub mod host;
mod host_image;
mod idmap;
mod images;
pub mod import;
mod overlay;
mod store;
pub mod volume;

pub use error::{Error, Result};
pub use images::places::{Places, empty_trash};
pub use images::sharing::Sharing;
pub use store::{Part, Root, Store, Terms, Wish};
