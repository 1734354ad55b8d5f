//! From an archive to files. What was unpacked before a refusal stays, and is counted.

use super::tar_in::{self, Decoded, Source};
use super::target::Target;
use super::{format, zip_in};
use crate::files::download::open;
use crate::files::entry::size;
use crate::files::failure::{Outcome, failed};
use crate::files::path::{AbsolutePath, Root};
use crate::files::wire::Wire;
use bulkhead_protocol::files::{FileDone, FileFailure, Format, MAX_RATIO, RATIO_FLOOR};

/// Unpacks an archive into a directory.
pub(crate) fn extract(
    root: &Root,
    archive: &AbsolutePath,
    dest: &AbsolutePath,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let format = format::of_name(archive.bytes()).ok_or(FileFailure::BadArchive)?;
    let (file, stat) = open(root, archive)?;
    let most = size(&stat).saturating_mul(MAX_RATIO).max(RATIO_FLOOR);
    let mut target = Target::make(root, dest, most, FileFailure::Bounds)?;
    wire.begin()?;
    let unpacked = match format {
        Format::Zip => zip_in::unpack(file, &mut target, wire),
        format => {
            let mut source = Decoded { reader: format::unpacked(file, format)?, wire };
            tar_in::unpack(&mut source, &mut target)
        }
    };
    counted(unpacked, &target)
}

/// Unpacks a tar stream that comes in.
pub(crate) fn upload_tree(
    root: &Root,
    path: &AbsolutePath,
    limit: u64,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let mut target = Target::make(root, path, limit, FileFailure::TooLarge)?;
    wire.begin()?;
    let unpacked = tar_in::unpack(wire, &mut target);
    if unpacked.is_ok() {
        // What follows the end of an archive is padding.
        while wire.next_input(usize::MAX)?.is_some() {}
    }
    counted(unpacked, &target)
}

fn counted(unpacked: Outcome, target: &Target) -> Outcome<FileDone> {
    use crate::files::failure::Stop;
    let failure = match unpacked {
        Ok(()) => None,
        Err(Stop::Failed(failure)) => Some(failure),
        Err(Stop::Gone) => return Err(Stop::Gone),
    };
    Ok(FileDone { failure, entries: Some(target.entries), bytes: Some(target.bytes), ..FileDone::default() })
}

impl Source for Wire {
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize> {
        match self.next_input(out.len())? {
            Some(piece) => match out.get_mut(..piece.len()) {
                Some(place) => {
                    place.copy_from_slice(piece);
                    Ok(piece.len())
                }
                None => failed(FileFailure::Internal),
            },
            None => Ok(0),
        }
    }

    fn beat(&mut self) -> Outcome {
        Wire::beat(self)
    }
}
