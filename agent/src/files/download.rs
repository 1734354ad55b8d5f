//! Download of one file.

use super::entry::{kind, modified_us, size};
use super::failure::{Outcome, failed};
use super::path::{AbsolutePath, Root};
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, FileFailure};
use bulkhead_protocol::frame::MAX_PAYLOAD;
use nix::fcntl::OFlag;
use nix::sys::stat::{FileStat, Mode, fstat};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

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
        send(&file, count, wire)?;
        count
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

/// Sends the next bytes of a file. One that ends before that breaks off.
fn send(file: &File, count: u64, wire: &mut Wire) -> Outcome {
    let mut left = count;
    while left > 0 {
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(MAX_PAYLOAD);
        wire.content_of(file, length)?;
        left -= u64::try_from(length).unwrap_or(u64::MAX);
    }
    Ok(())
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
