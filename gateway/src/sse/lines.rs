//! Bytes as `data:` lines. This is the hot path of a stream: it looks at many bytes at a time and copies whole runs.

use bytes::BytesMut;
use memchr::{memchr, memchr_iter, memchr3, memrchr};

/// What stands between two lines of one event.
const NEXT_LINE: &[u8] = b"\ndata:";

/// With what line ends other than LF begin.
const RARE: [[u8; 3]; 3] = [[b'\r', 0x0b, 0x0c], [0x1c, 0x1d, 0x1e], [0xc2, 0xe2, 0xe2]];

/// Bytes that are looked at together.
const BLOCK: usize = 16;

/// Where the first line ends, its LF included.
pub(super) fn first_end(bytes: &[u8]) -> Option<usize> {
    memchr(b'\n', bytes).map(|at| at + 1)
}

/// Where the last line that has an end ends, its LF included.
pub(super) fn last_end(bytes: &[u8]) -> Option<usize> {
    memrchr(b'\n', bytes).map(|at| at + 1)
}

/// Length without the beginning of a character whose other bytes have not come.
pub(super) fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let at = bytes.len() - back;
        // The first byte of a character is none of 10xx_xxxx.
        if bytes[at] & 0xc0 != 0x80 {
            let cut = std::str::from_utf8(&bytes[at..]).is_err_and(|error| error.error_len().is_none());
            return if cut { at } else { bytes.len() };
        }
    }
    bytes.len()
}

/// Bytes that [`write`] appends where no character but LF ends a line and every character is valid.
pub(super) fn room(bytes: &[u8]) -> usize {
    bytes.len() + memchr_iter(b'\n', bytes).count() * (NEXT_LINE.len() - 1)
}

/// Appends `bytes` as the inside of one event's data: the first line's `data:` is there already.
pub(super) fn write(bytes: &[u8], out: &mut BytesMut) {
    // Far faster than looking for what is invalid, and nearly always enough.
    if std::str::from_utf8(bytes).is_ok() {
        write_text(bytes, out);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        write_text(chunk.valid().as_bytes(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// `text` is valid UTF-8.
fn write_text(text: &[u8], out: &mut BytesMut) {
    // Nearly all text is such, and to see that takes less time than a walk from one line end to the next.
    if RARE.iter().all(|[one, two, three]| memchr3(*one, *two, *three, text).is_none()) {
        write_lines(text, memchr_iter(b'\n', text).map(|at| (at, 1)), out);
        return;
    }
    let mut from = 0;
    let ends = std::iter::from_fn(|| {
        while let Some(at) = line_end(text, from) {
            let length = separator(&text[at..]);
            from = at + length.max(1);
            if length > 0 {
                return Some((at, length));
            }
        }
        None
    });
    write_lines(text, ends, out);
}

/// `ends` says where line ends are, and how long.
fn write_lines(text: &[u8], ends: impl Iterator<Item = (usize, usize)>, out: &mut BytesMut) {
    let mut plain = 0;
    for (at, length) in ends {
        out.extend_from_slice(&text[plain..at]);
        out.extend_from_slice(NEXT_LINE);
        plain = at + length;
    }
    out.extend_from_slice(&text[plain..]);
}

/// Bytes of the line end that begins here, 0 for anything else. All that any client takes for one count:
/// LF, CR, CRLF, VT, FF, FS, GS, RS, NEL, U+2028, U+2029.
fn separator(text: &[u8]) -> usize {
    match text {
        [b'\r', b'\n', ..] => 2,
        [b'\n' | b'\r' | 0x0b | 0x0c | 0x1c..=0x1e, ..] => 1,
        [0xc2, 0x85, ..] => 2,
        [0xe2, 0x80, 0xa8 | 0xa9, ..] => 3,
        _ => 0,
    }
}

/// Whether a line end may begin with this byte.
fn may_end_line(byte: u8) -> bool {
    byte < b' ' || byte == 0xc2 || byte == 0xe2
}

/// The next byte with which a line end may begin, from `from` on.
fn line_end(bytes: &[u8], mut from: usize) -> Option<usize> {
    loop {
        let rest = bytes.get(from..)?;
        let Some(block) = rest.first_chunk::<BLOCK>() else {
            return rest.iter().position(|byte| may_end_line(*byte)).map(|at| from + at);
        };
        if block.iter().fold(false, |found, byte| found | may_end_line(*byte)) {
            return block.iter().position(|byte| may_end_line(*byte)).map(|at| from + at);
        }
        from += BLOCK;
    }
}
