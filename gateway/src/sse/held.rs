//! The part of a line that one stream has written so far.

use super::{Part, length, lines};

/// Bytes that are held back, and where they begin.
#[derive(Debug, Default)]
pub(super) struct Held {
    bytes: Vec<u8>,
    /// Offset of the first byte.
    start: u64,
    /// A CR went out last: an LF that comes next is the second half of the same line end.
    after_cr: bool,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn start(&self) -> Option<u64> {
        (!self.bytes.is_empty()).then_some(self.start)
    }

    pub(super) fn ends_line(&self) -> bool {
        self.bytes.last() == Some(&b'\n')
    }

    /// Takes further bytes, which begin at `offset`.
    pub(super) fn push(&mut self, bytes: &[u8], offset: u64) {
        if self.bytes.is_empty() {
            self.start = offset;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Gives back what shall go out; `end` is the offset behind everything that either stream wrote.
    pub(super) fn take(&mut self, part: Part, end: u64) -> Vec<u8> {
        let cut = match part {
            Part::All => self.bytes.len(),
            Part::Characters => lines::whole_characters(&self.bytes),
        };
        let rest = self.bytes.split_off(cut);
        let out = std::mem::replace(&mut self.bytes, rest);
        // With the other stream's bytes in between the rest's place is not known: it stays where it was.
        if self.start + length(&out) + length(&self.bytes) == end {
            self.start += length(&out);
        }
        out
    }

    /// The bytes that go out next, without an LF whose CR is out already.
    pub(super) fn without_second_half<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(last) = bytes.last() else { return bytes };
        let rest = if self.after_cr { bytes.strip_prefix(b"\n").unwrap_or(bytes) } else { bytes };
        self.after_cr = *last == b'\r';
        rest
    }
}
