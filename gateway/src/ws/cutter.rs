//! Cuts a stream of bytes into messages that never split a character: one client decodes each message by
//! itself, another drops what is incomplete (contract §6.2). Bytes that are no UTF-8 pass as they are.

use crate::limits::SOCKET_MESSAGE;
use bytes::{Bytes, BytesMut};

/// Output that no message carries yet.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    bytes: BytesMut,
    seam: Seam,
}

/// Whether what comes next follows what came last.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Seam {
    #[default]
    Whole,
    /// Something is missing, perhaps the beginning of a character.
    Torn,
}

/// Whether an incomplete character may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// It waits for its rest.
    Hold,
    /// Its rest did not come in time.
    Release,
}

impl Cutter {
    /// Takes the next bytes. The caller bounds what it gives by asking [`Self::is_full`] before.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let rest = |bytes: &[u8]| bytes.iter().take(3).take_while(|byte| matches!(byte, 0x80..=0xbf)).count();
        let skip = if std::mem::take(&mut self.seam) == Seam::Torn { rest(bytes) } else { 0 };
        self.bytes.extend_from_slice(&bytes[skip..]);
    }

    /// Bytes are missing between what came and what comes: neither side keeps its half of a character.
    pub(crate) fn tear(&mut self) {
        self.bytes.truncate(self.bytes.len() - incomplete(&self.bytes));
        self.seam = Seam::Torn;
    }

    /// Whether a whole message is here already.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= SOCKET_MESSAGE
    }

    /// Whether nothing is here, not even part of a character.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next message, if there is one.
    pub(crate) fn take(&mut self, tail: Tail) -> Option<Bytes> {
        let window = &self.bytes[..self.bytes.len().min(SOCKET_MESSAGE)];
        let held = match tail {
            Tail::Release if window.len() == self.bytes.len() => 0,
            Tail::Hold | Tail::Release => incomplete(window),
        };
        let length = window.len() - held;
        (length > 0).then(|| self.bytes.split_to(length).freeze())
    }
}

/// How many bytes at the end are the beginning of a character whose rest is not here.
fn incomplete(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => return 0,
        };
        return if length > back { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(cutter: &mut Cutter, tail: Tail, messages: &mut Vec<Bytes>) {
        while let Some(message) = cutter.take(tail) {
            assert!(message.len() <= SOCKET_MESSAGE && !message.is_empty());
            messages.push(message);
        }
    }

    proptest! {
        #[test]
        fn text_stays_whole_however_it_comes(text in ".{0,300}", cut in 1usize..9) {
            let mut cutter = Cutter::default();
            let mut messages = Vec::new();
            for piece in text.as_bytes().chunks(cut) {
                cutter.push(piece);
                drain(&mut cutter, Tail::Hold, &mut messages);
            }
            prop_assert!(cutter.is_empty());
            prop_assert!(messages.iter().all(|message| std::str::from_utf8(message).is_ok()));
            prop_assert_eq!(messages.concat(), text.into_bytes());
        }

        #[test]
        fn no_byte_is_lost_or_held_for_long(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 1usize..9) {
            let mut cutter = Cutter::default();
            let mut messages = Vec::new();
            for piece in bytes.chunks(cut) {
                cutter.push(piece);
                drain(&mut cutter, Tail::Hold, &mut messages);
                prop_assert!(cutter.bytes.len() <= 3);
            }
            drain(&mut cutter, Tail::Release, &mut messages);
            prop_assert_eq!(messages.concat(), bytes);
        }
    }

    #[test]
    fn a_gap_takes_the_halves_of_characters_on_both_sides() {
        let (mut cutter, euro) = (Cutter::default(), "\u{20ac}".as_bytes());
        cutter.push(&[b"a", &euro[..2]].concat());
        cutter.tear();
        cutter.push(&[&euro[1..], b"b"].concat());
        assert_eq!(cutter.take(Tail::Hold).unwrap(), "ab");
    }

    #[test]
    fn a_long_output_is_cut_between_characters() {
        let mut cutter = Cutter::default();
        let text = format!("a{}", "\u{20ac}".repeat(SOCKET_MESSAGE));
        cutter.push(text.as_bytes());
        let mut messages = Vec::new();
        drain(&mut cutter, Tail::Release, &mut messages);
        assert!(messages.iter().all(|message| std::str::from_utf8(message).is_ok()));
        assert_eq!(messages.concat(), text.into_bytes());
    }
}
