//! The first or last lines of a file.

use super::download::open;
use super::failure::{Outcome, failed};
use super::path::{AbsolutePath, Root};
use super::wire::Wire;
use bulkhead_protocol::files::{End, FileDone, FileFailure, MAX_LINES, MAX_TEXT};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

/// Bytes that are read at once.
const BLOCK: usize = 64 << 10;

/// Sends lines of a file; a text above [`MAX_TEXT`] is refused rather than cut.
pub(crate) fn head_tail(
    root: &Root,
    path: &AbsolutePath,
    lines: u32,
    end: End,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let (file, stat) = open(root, path)?;
    let lines = usize::try_from(lines.clamp(1, MAX_LINES)).unwrap_or(1);
    let text = match (end, super::entry::size(&stat)) {
        (End::Head, _) => first(&file, lines)?,
        // Those under /proc say no size, so they can be read from their beginning only.
        (End::Tail, 0) => {
            let mut text = Vec::new();
            (&file).take(MAX_TEXT + 1).read_to_end(&mut text)?;
            let from = last(&text, lines).unwrap_or(0);
            text.split_off(from)
        }
        (End::Tail, size) => tail(&file, size, lines)?,
    };
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_TEXT {
        return failed(FileFailure::TooLarge);
    }
    wire.begin()?;
    wire.content(&text)?;
    Ok(FileDone::default())
}

fn first(mut file: &File, lines: usize) -> Outcome<Vec<u8>> {
    let (mut text, mut left) = (Vec::new(), lines);
    let mut block = vec![0; BLOCK];
    while u64::try_from(text.len()).unwrap_or(u64::MAX) <= MAX_TEXT {
        let count = file.read(&mut block)?;
        let mut ends = block[..count].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        if let Some((at, _)) = ends.nth(left - 1) {
            text.extend_from_slice(&block[..=at]);
            return Ok(text);
        }
        left -= block[..count].iter().filter(|byte| **byte == b'\n').count();
        text.extend_from_slice(&block[..count]);
        if count == 0 {
            break;
        }
    }
    Ok(text)
}

/// Where the last lines of a text begin, if it has more than that. The end of the last line ends no other one.
fn last(text: &[u8], lines: usize) -> Option<usize> {
    let inner = text.strip_suffix(b"\n").unwrap_or(text);
    let mut ends = inner.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.nth(lines - 1).map(|(at, _)| at + 1)
}

/// Reads backwards, twice as much each time, until there are enough lines.
fn tail(file: &File, size: u64, lines: usize) -> Outcome<Vec<u8>> {
    let mut wanted = u64::try_from(BLOCK).unwrap_or(u64::MAX);
    loop {
        let from = size.saturating_sub(wanted);
        let length = usize::try_from(size - from).map_err(|_| FileFailure::TooLarge)?;
        let mut text = vec![0; length];
        let mut read = 0;
        while read < length {
            match file.read_at(&mut text[read..], from + u64::try_from(read).unwrap_or(u64::MAX))? {
                // It became shorter meanwhile.
                0 => break,
                count => read += count,
            }
        }
        text.truncate(read);
        match last(&text, lines) {
            Some(at) => return Ok(text.split_off(at)),
            None if from == 0 || wanted > MAX_TEXT => return Ok(text),
            None => wanted *= 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, Write};

    #[test]
    fn both_ends_are_those_of_head_and_tail() {
        let long = "x".repeat(BLOCK - 1) + "\n" + &"y".repeat(BLOCK) + "\nz";
        for text in ["", "\n", "a", "a\n", "a\nb", "a\nb\n", "\n\n\n", &long] {
            let mut file = tempfile::tempfile().unwrap();
            file.write_all(text.as_bytes()).unwrap();
            let pieces: Vec<_> = text.split_inclusive('\n').collect();
            for lines in 1..4 {
                file.rewind().unwrap();
                let expected = pieces[..lines.min(pieces.len())].concat();
                assert_eq!(first(&file, lines).unwrap(), expected.as_bytes(), "{lines}");
                let expected = pieces[pieces.len().saturating_sub(lines)..].concat();
                let size = u64::try_from(text.len()).unwrap();
                assert_eq!(tail(&file, size, lines).unwrap(), expected.as_bytes(), "{lines}");
            }
        }
    }
}
