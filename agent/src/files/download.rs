//! Download of one file.

use super::entry::{kind, modified_us, size};
use super::failure::{Outcome, failed};
use super::path::{AbsolutePath, Root};
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, FileFailure};
use bulkhead_protocol::frame::{FrameType, HEADER_LEN, MAX_PAYLOAD, header};
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat};
use std::fs::File;
use std::io::{ErrorKind, IoSliceMut, Read, Seek, SeekFrom};

/// Frames that are read and sent at once.
const BATCH: usize = 4;
/// A file that says a size below this one is read before its size is told: those under /proc say none.
const DOUBTFUL: u64 = 64 << 10;
/// Most bytes of a file that does not say its size.
const MAX_UNKNOWN: u64 = 64 << 20;

/// Opens a regular file for reading.
///
/// # Errors
/// As openat2(2); [`FileFailure::IsDirectory`], [`FileFailure::Special`].
pub(crate) fn open(root: &Root, path: &AbsolutePath) -> Outcome<(File, FileStat)> {
    let file = root.open(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK, Mode::empty())?;
    let stat = fstat(&file)?;
    match kind(&stat) {
        EntryKind::File => Ok((file.into(), stat)),
        EntryKind::Directory => failed(FileFailure::IsDirectory),
        _ => failed(FileFailure::Special),
    }
}

/// Sends a file or a part of it.
pub(crate) fn download(
    root: &Root,
    path: &AbsolutePath,
    range: Option<(u64, Option<u64>)>,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let (mut file, stat) = open(root, path)?;
    let modified = Some(modified_us(&stat));
    let size = size(&stat);
    let bytes = if size < DOUBTFUL {
        let mut content = Vec::new();
        Read::take(&mut file, MAX_UNKNOWN).read_to_end(&mut content)?;
        let size = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let (first, count) = part(range, size)?;
        wire.begin_with(Some(size), modified)?;
        let content = content.get(usize::try_from(first).unwrap_or(usize::MAX)..).unwrap_or_default();
        let content = content.get(..usize::try_from(count).unwrap_or(usize::MAX)).unwrap_or(content);
        wire.content(content)?;
        count
    } else {
        let (first, count) = part(range, size)?;
        file.seek(SeekFrom::Start(first))?;
        wire.begin_with(Some(size), modified)?;
        send(&file, count, wire)?
    };
    Ok(FileDone { bytes: Some(bytes), ..FileDone::default() })
}

/// First byte and number of bytes.
fn part(range: Option<(u64, Option<u64>)>, size: u64) -> Outcome<(u64, u64)> {
    let Some((first, last)) = range else { return Ok((0, size)) };
    let last = last.unwrap_or(u64::MAX).min(size.saturating_sub(1));
    if first >= size || first > last {
        return failed(FileFailure::Range);
    }
    Ok((first, last - first + 1))
}

/// Sends the next bytes of a file, fewer where it ends before; says how many.
fn send(file: &File, count: u64, wire: &mut Wire) -> Outcome<u64> {
    // Frames with room for their headers, so that one write sends what one read brought.
    let mut frames = vec![0; BATCH * (HEADER_LEN + MAX_PAYLOAD)];
    let mut sent = 0;
    while sent < count {
        let wanted = usize::try_from(count - sent).unwrap_or(usize::MAX);
        let got = match read_frames(file, &mut frames, wanted) {
            Ok(0) => break,
            Ok(got) => got,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let mut length = 0;
        for (index, frame) in frames.chunks_mut(HEADER_LEN + MAX_PAYLOAD).enumerate() {
            let payload = got.saturating_sub(index * MAX_PAYLOAD).min(MAX_PAYLOAD);
            if payload > 0 {
                frame[..HEADER_LEN].copy_from_slice(&header(FrameType::Stdout, payload));
                length += HEADER_LEN + payload;
            }
        }
        wire.frames(&frames[..length])?;
        sent += u64::try_from(got).unwrap_or(u64::MAX);
    }
    Ok(sent)
}

fn read_frames(mut file: &File, frames: &mut [u8], wanted: usize) -> std::io::Result<usize> {
    let mut left = wanted;
    let mut slices = Vec::with_capacity(BATCH);
    for frame in frames.chunks_mut(HEADER_LEN + MAX_PAYLOAD) {
        let length = left.min(MAX_PAYLOAD);
        left -= length;
        slices.push(IoSliceMut::new(&mut frame[HEADER_LEN..HEADER_LEN + length]));
    }
    file.read_vectored(&mut slices)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_end_and_never_begins_behind_it() {
        assert_eq!(part(None, 0), Ok((0, 0)));
        assert_eq!(part(Some((0, None)), 10), Ok((0, 10)));
        assert_eq!(part(Some((9, Some(100))), 10), Ok((9, 1)));
        assert_eq!(part(Some((2, Some(3))), 10), Ok((2, 2)));
        for (range, size) in [((10, None), 10), ((0, None), 0), ((3, Some(2)), 10)] {
            assert_eq!(part(Some(range), size), failed(FileFailure::Range), "{range:?}");
        }
    }
}
