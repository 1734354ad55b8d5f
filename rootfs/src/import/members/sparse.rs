//! Sparse files in the old format of GNU tar: a list of pieces in the header, and in records behind it.

use super::super::failure::{Outcome, refused};
use super::super::limits;
use super::{Members, RECORD, Stream, bad, cut_short};
use tar::{GnuExtSparseHeader, GnuSparseHeader, Header};

impl<S: Stream> Members<S> {
    /// The pieces that are in the archive; `stored` bytes follow.
    pub(super) fn sparse_pieces(&mut self, header: &Header, stored: u64) -> Outcome<Vec<(u64, u64)>> {
        let Some(gnu) = header.as_gnu() else { return refused("a layer has a sparse file without its list") };
        let mut pieces = Vec::new();
        gnu.sparse.iter().try_for_each(|piece| take(&mut pieces, piece))?;
        let mut more = gnu.is_extended();
        while more {
            let Some(record) = self.record()? else { return cut_short() };
            let mut extended = GnuExtSparseHeader::new();
            extended.as_mut_bytes()[..RECORD].copy_from_slice(&record);
            extended.sparse.iter().try_for_each(|piece| take(&mut pieces, piece))?;
            more = extended.is_extended();
        }
        let total = pieces.iter().try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length));
        let end = pieces.last().map_or(0, |(at, length)| at + length);
        if total != Some(stored) || end > real_size(header)? {
            return refused("a layer has a sparse file whose list does not fit its content");
        }
        Ok(pieces)
    }
}

/// Bytes of the file, holes included.
pub(super) fn real_size(header: &Header) -> Outcome<u64> {
    match header.as_gnu() {
        Some(gnu) => gnu.real_size().map_err(|_| bad("a size")),
        None => refused("a layer has a sparse file without its list"),
    }
}

fn take(pieces: &mut Vec<(u64, u64)>, piece: &GnuSparseHeader) -> Outcome {
    if piece.is_empty() {
        return Ok(());
    }
    let at = piece.offset().map_err(|_| bad("a piece"))?;
    let length = piece.length().map_err(|_| bad("a piece"))?;
    let before = pieces.last().map_or(0, |(at, length)| at + length);
    if at < before || at.checked_add(length).is_none() || pieces.len() >= limits::SPARSE_PIECES {
        return refused("a layer has a sparse file whose pieces overlap or are too many");
    }
    pieces.push((at, length));
    Ok(())
}
