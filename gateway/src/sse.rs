//! Output as server-sent events, in the one form that all clients of the contract understand (§4.3):
//! `event:` `data:`… `id:` and a blank line, without a space after the colon, with LF only.
//!
//! Text is cut at line ends. A line that has not ended is held back for a moment, and never longer. The id of
//! an event is the offset to resume from: everything before it is out. While a line of the other stream is
//! held back it stays where that line begins, so that resuming may repeat bytes and never loses one. In
//! base64 nothing is held back and every id is exact.
//!
//! Must never put bytes of a sandbox anywhere but into `data:`.

mod held;
mod lines;
#[cfg(test)]
mod tests;

use crate::agent_client::Source;
use crate::limits::HELD_LINE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::agent::Gap;
use bytes::{Bytes, BytesMut};
use held::Held;
use std::fmt::Write;

/// Bytes of an event around its data, at most.
const EVENT_FRAME: usize = 64;

/// How output becomes data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Lines of text; what is no UTF-8 is replaced, every kind of line end becomes LF.
    Text,
    /// The exact bytes, one line for each event.
    Base64,
}

/// Makes events of what an execution writes.
#[derive(Debug)]
pub(crate) struct Encoder {
    encoding: Encoding,
    out: BytesMut,
    held: [Held; 2],
    /// Offset behind the last byte that was taken.
    offset: u64,
}

fn name(source: Source) -> &'static str {
    match source {
        Source::Stdout => "stdout",
        Source::Stderr => "stderr",
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

impl Encoder {
    /// For output from the offset `from` on.
    pub(crate) fn new(encoding: Encoding, from: u64) -> Self {
        Self { encoding, out: BytesMut::new(), held: [Held::default(), Held::default()], offset: from }
    }

    /// Bytes that are ready to be sent.
    pub(crate) fn ready(&self) -> usize {
        self.out.len()
    }

    /// What is ready to be sent.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        // The whole buffer: a rest of it would be held as long as what is sent.
        (!self.out.is_empty()).then(|| std::mem::take(&mut self.out).freeze())
    }

    /// Whether part of a line is held back.
    pub(crate) fn holds(&self) -> bool {
        self.held.iter().any(|held| !held.is_empty())
    }

    /// The offset to resume from: everything before it is ready or sent.
    pub(crate) fn resume(&self) -> u64 {
        let starts = self.held.iter().filter_map(Held::start);
        starts.fold(self.offset, u64::min)
    }

    /// Takes what was written next.
    pub(crate) fn output(&mut self, source: Source, bytes: &[u8]) {
        match self.encoding {
            Encoding::Text => self.text(source, bytes),
            Encoding::Base64 if bytes.is_empty() => {}
            Encoding::Base64 => {
                self.offset += length(bytes);
                let room = bytes.len().div_ceil(3) * 4;
                self.out.reserve(room + EVENT_FRAME);
                self.begin(name(source));
                let at = self.out.len();
                self.out.resize(at + room, 0);
                // The room is exact.
                STANDARD.encode_slice(bytes, &mut self.out[at..]).unwrap_or_default();
                self.end();
            }
        }
    }

    fn text(&mut self, source: Source, mut bytes: &[u8]) {
        let index = source as usize;
        if !self.held[index].is_empty() {
            let to = lines::first_end(bytes).unwrap_or(bytes.len());
            self.held[index].push(&bytes[..to], self.offset);
            self.offset += length(&bytes[..to]);
            bytes = &bytes[to..];
            if self.held[index].ends_line() {
                self.release(source, Part::All);
            } else if self.held[index].len() >= HELD_LINE {
                self.release(source, Part::Characters);
            }
        }
        if bytes.is_empty() {
            return;
        }
        let mut cut = lines::last_end(bytes).unwrap_or(0);
        if bytes.len() - cut >= HELD_LINE {
            cut = lines::whole_characters(bytes);
        }
        let (whole, rest) = bytes.split_at(cut);
        self.offset += length(whole);
        self.held[index].push(rest, self.offset);
        self.event(source, whole);
        self.offset += length(rest);
    }

    /// Sends what is held back, as far as its characters are whole.
    pub(crate) fn flush(&mut self) {
        self.release_all(Part::Characters);
    }

    /// Sends everything that is held back, whole or not: nothing follows.
    fn finish(&mut self) {
        self.release_all(Part::All);
    }

    fn release_all(&mut self, part: Part) {
        let [out, err] = [&self.held[0], &self.held[1]].map(|held| held.start().unwrap_or(u64::MAX));
        let order =
            if out <= err { [Source::Stdout, Source::Stderr] } else { [Source::Stderr, Source::Stdout] };
        for source in order {
            self.release(source, part);
        }
    }

    fn release(&mut self, source: Source, part: Part) {
        let bytes = self.held[source as usize].take(part, self.offset);
        self.event(source, &bytes);
    }

    fn event(&mut self, source: Source, bytes: &[u8]) {
        let bytes = self.held[source as usize].without_second_half(bytes);
        if bytes.is_empty() {
            return;
        }
        self.out.reserve(lines::room(bytes) + EVENT_FRAME);
        self.begin(name(source));
        lines::write(bytes, &mut self.out);
        self.end();
    }

    /// Says that bytes are missing.
    pub(crate) fn gap(&mut self, gap: Gap) {
        self.finish();
        self.offset = gap.to;
        self.begin("gap");
        // Writing into memory cannot fail; the same below.
        write!(self.out, r#"{{"from":{},"to":{}}}"#, gap.from, gap.to).unwrap_or_default();
        self.end();
    }

    /// The last event; `json` is one line.
    pub(crate) fn exit(&mut self, json: &str) {
        self.finish();
        self.begin("exit");
        self.out.extend_from_slice(json.as_bytes());
        self.end();
    }

    /// A line that means nothing, so that the client hears something.
    pub(crate) fn comment(&mut self) {
        self.out.extend_from_slice(b":\n\n");
    }

    fn begin(&mut self, name: &str) {
        for part in ["event:", name, "\ndata:"] {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    fn end(&mut self) {
        let id = self.resume();
        write!(self.out, "\nid:{id}\n\n").unwrap_or_default();
    }
}

/// How much of what is held back goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    /// All but the beginning of a character at the end.
    Characters,
}
