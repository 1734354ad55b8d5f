//! Imports: an archive or a layout becomes layers and a tree of the store, in steps of rising trust.
//!
//! [`unpack`] reads what a stranger wrote; whoever runs it can write to the directory of its job and nowhere else.
//! [`assemble`] makes the tree of an image from layers that are unpacked. [`publish`] moves what is finished into the
//! store. The caller runs each in a process of its own rights; what they tell each other is small files in the
//! directory of the job.

mod assemble;
mod attributes;
mod blob;
mod changes;
mod config;
mod decode;
mod digest;
mod failure;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod job;
mod layer;
mod limits;
mod members;
mod place;
mod plan;
mod progress;
mod provide;
mod publish;
mod source;
mod unpack;

pub use assemble::assemble;
pub(crate) use digest::Digest;
pub use failure::{Failure, Outcome};
pub use job::{Job, Layers};
pub(crate) use limits::ROOM_KEPT;
pub use progress::Progress;
pub use publish::publish;
pub use source::Given;
pub use unpack::unpack;
