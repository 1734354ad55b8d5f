//! Archives: what all formats share.
//!
//! Writing walks a tree and hands members to a [`Sink`]; reading takes members apart by itself (`tar_in`, `zip_in`)
//! and puts them below a directory by [`Target`], which trusts no name.

pub(crate) mod format;
#[cfg(test)]
mod hostile;
pub(crate) mod pack;
pub(crate) mod tar_in;
pub(crate) mod tar_out;
pub(crate) mod target;
pub(crate) mod unpack;
pub(crate) mod zip_in;
pub(crate) mod zip_out;

use super::failure::{Outcome, Stop};
use bulkhead_protocol::files::FileFailure;
use nix::errno::Errno;
use nix::sys::stat::FileStat;
use std::io::Read;

/// Bytes that are read or written at once.
const BLOCK: usize = 64 << 10;

/// Takes members of an archive in the order of a walk.
pub(crate) trait Sink {
    /// A directory; its name ends without a slash.
    fn directory(&mut self, name: &[u8], stat: &FileStat) -> Outcome;
    /// A regular file with exactly `st_size` bytes of content.
    fn file(&mut self, name: &[u8], stat: &FileStat, content: &mut dyn Read) -> Outcome;
    /// A link.
    fn link(&mut self, name: &[u8], stat: &FileStat, target: &[u8]) -> Outcome;
}

/// What a decoder's error means: the system's, or an archive that is none.
fn unreadable(error: &std::io::Error) -> Stop {
    match error.raw_os_error() {
        Some(errno) => Errno::from_raw(errno).into(),
        None => FileFailure::BadArchive.into(),
    }
}
