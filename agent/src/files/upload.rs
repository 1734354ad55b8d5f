//! Upload of one file.

use super::entry::{kind, mode as mode_of};
use super::failure::{Outcome, failed};
use super::path::{AbsolutePath, Place, Root};
use super::spool::Spool;
use super::tree::look;
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, FileFailure};
use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::FileStat;
use nix::unistd::{AccessFlags, faccessat};
use std::io::Write;

/// Replaces a file by the content that comes in, when that is whole.
pub(crate) fn upload(
    root: &Root,
    path: &AbsolutePath,
    mode: u32,
    limit: u64,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let place = root.make_place_behind_links(path)?;
    let old = replaceable(&place)?;
    let spool = Spool::new(&place)?;
    wire.begin()?;
    let mut bytes = 0;
    while let Some(piece) = wire.next_input(usize::MAX)? {
        bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        if bytes > limit {
            return failed(FileFailure::TooLarge);
        }
        spool.file().write_all(piece)?;
    }
    if let Some(old) = &old {
        spool.inherit(old)?;
    }
    spool.publish(old.as_ref().map_or(mode, mode_of))?;
    Ok(FileDone { bytes: Some(bytes), ..FileDone::default() })
}

/// The file that is there already, if this user may write to it.
pub(crate) fn replaceable(place: &Place) -> Outcome<Option<FileStat>> {
    let stat = match look(&place.directory, &place.name) {
        Err(Errno::ENOENT) => return Ok(None),
        stat => stat?,
    };
    match kind(&stat) {
        EntryKind::File => {}
        EntryKind::Directory => return failed(FileFailure::IsDirectory),
        _ => return failed(FileFailure::Special),
    }
    // Who may write to the directory could replace what it may not write to.
    faccessat(&place.directory, place.name.as_c_str(), AccessFlags::W_OK, AtFlags::empty())?;
    Ok(Some(stat))
}
