//! Whether a stream carried what the command wrote: one line, again and again.

use anyhow::{Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::BufRead;

/// The line, of 63 letters and its end: as long as those of a talkative program.
pub(crate) const LINE: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
const DATA: &[u8] = b"data:";
/// Of so many events in base64 one is decoded and compared; the others are counted. So the client, which has
/// the same processors, does not become what is measured.
const DECODED: u64 = 8;

/// Counts the bytes that the command wrote, and refuses any other.
pub(crate) trait Check {
    /// Takes the next bytes of the body.
    fn take(&mut self, piece: &[u8]) -> Result<()>;
    /// Bytes that the command wrote, at the end of the body.
    fn total(&self) -> Result<u64>;
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Where the first line ends. The standard library looks at many bytes at once only here.
fn line_end(mut bytes: &[u8]) -> Result<Option<usize>> {
    let all = bytes;
    let skipped = bytes.skip_until(b'\n')?;
    Ok(all[..skipped].ends_with(b"\n").then(|| skipped - 1))
}

/// The bytes themselves.
pub(crate) struct Plain {
    lines: Vec<u8>,
    total: u64,
}

impl Plain {
    pub(crate) fn new() -> Self {
        Self { lines: LINE.as_bytes().repeat(8192), total: 0 }
    }

    /// Takes bytes that follow those before.
    fn compare(&mut self, bytes: &[u8]) -> Result<()> {
        for bytes in bytes.chunks(self.lines.len() - LINE.len()) {
            let at = usize::try_from(self.total % length(LINE.as_bytes()))?;
            ensure!(&self.lines[at..at + bytes.len()] == bytes, "other bytes behind {}", self.total);
            self.total += length(bytes);
        }
        Ok(())
    }
}

impl Check for Plain {
    fn take(&mut self, piece: &[u8]) -> Result<()> {
        self.compare(piece)
    }

    fn total(&self) -> Result<u64> {
        Ok(self.total)
    }
}

/// How output stands in events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Text,
    Base64,
}

/// Events of output with their offsets, then the exit.
pub(crate) struct Events {
    form: Form,
    plain: Plain,
    /// A whole line as it stands in an event.
    usual: Vec<u8>,
    /// The beginning of a line.
    rest: Vec<u8>,
    event: String,
    /// Data lines of this event.
    lines: u64,
    events: u64,
    exit: Option<String>,
}

impl Events {
    pub(crate) fn new(form: Form) -> Self {
        let usual = [DATA, LINE.as_bytes()].concat();
        let (rest, event) = (Vec::new(), String::new());
        Self { form, plain: Plain::new(), usual, rest, event, lines: 0, events: 0, exit: None }
    }

    /// Takes whole lines and says how many bytes they have.
    fn lines(&mut self, bytes: &[u8]) -> Result<usize> {
        let mut from = 0;
        loop {
            let rest = &bytes[from..];
            // A line within an event: its end counts, as another data line follows. This is nearly all of a
            // stream.
            if self.form == Form::Text && rest.starts_with(&self.usual) && self.plain.total.is_multiple_of(64)
            {
                from += self.usual.len();
                self.plain.total += 64;
                self.lines += 1;
                continue;
            }
            let Some(end) = line_end(rest)? else { return Ok(from) };
            self.line(&rest[..end])?;
            from += end + 1;
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if let Some(data) = line.strip_prefix(DATA) {
            return self.data(data);
        }
        let text = std::str::from_utf8(line)?;
        if let Some(name) = text.strip_prefix("event:") {
            (self.event, self.lines) = (name.to_owned(), 0);
            self.events += 1;
        } else if let Some(id) = text.strip_prefix("id:") {
            ensure!(id.parse() == Ok(self.plain.total), "id {id} behind {} bytes", self.plain.total);
        } else {
            ensure!(text.is_empty() || text == ":", "line {text:?}");
        }
        Ok(())
    }

    fn data(&mut self, data: &[u8]) -> Result<()> {
        match (self.event.as_str(), self.form) {
            ("exit", _) => self.exit = Some(String::from_utf8_lossy(data).into_owned()),
            // Every event ends with a line end, which is an empty line of data at its end.
            ("stdout", Form::Text) if data.is_empty() => ensure!(self.lines > 0, "an event without text"),
            ("stdout", Form::Text) => {
                self.plain.compare(data)?;
                self.plain.compare(b"\n")?;
                self.lines += 1;
            }
            ("stdout", Form::Base64) if self.events.is_multiple_of(DECODED) => {
                self.plain.compare(&STANDARD.decode(data)?)?;
            }
            ("stdout", Form::Base64) => {
                let padding = data.iter().rev().take_while(|byte| **byte == b'=').count();
                self.plain.total += length(data) / 4 * 3 - u64::try_from(padding)?;
            }
            (other, _) => anyhow::bail!("event {other:?}: {}", String::from_utf8_lossy(data)),
        }
        Ok(())
    }
}

impl Check for Events {
    fn take(&mut self, piece: &[u8]) -> Result<()> {
        let mut bytes = piece;
        if !self.rest.is_empty() {
            // Only the line that was cut is put together again.
            let end = line_end(piece)?.map_or(piece.len(), |at| at + 1);
            let mut whole = std::mem::take(&mut self.rest);
            whole.extend_from_slice(&piece[..end]);
            let taken = self.lines(&whole)?;
            whole.drain(..taken);
            self.rest = whole;
            bytes = &piece[end..];
        }
        let taken = self.lines(bytes)?;
        self.rest.extend_from_slice(&bytes[taken..]);
        Ok(())
    }

    fn total(&self) -> Result<u64> {
        let exit = self.exit.as_deref().unwrap_or_default();
        ensure!(exit.contains("\"exitCode\":0"), "exit {exit:?}");
        Ok(self.plain.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn total(form: Form, stream: &str, cut: usize) -> Result<u64> {
        let mut events = Events::new(form);
        for piece in stream.as_bytes().chunks(cut) {
            events.take(piece)?;
        }
        events.total()
    }

    #[test]
    fn events_are_counted_wherever_they_are_cut() {
        let text = LINE.trim_end();
        let exit = "event:exit\ndata:{\"exitCode\":0}\nid:192\n\n";
        let good = format!(
            "event:stdout\ndata:{text}\ndata:{text}\ndata:\nid:128\n\n:\n\nevent:stdout\ndata:{text}\ndata:\nid:192\n\n{exit}"
        );
        let coded = format!("event:stdout\ndata:{}\nid:192\n\n{exit}", STANDARD.encode(LINE.repeat(3)));
        for cut in 1..good.len() {
            assert_eq!(total(Form::Text, &good, cut).unwrap(), 192);
            assert_eq!(total(Form::Base64, &coded, cut).unwrap(), 192);
        }
        assert!(total(Form::Text, &good.replacen('7', "8", 1), 50).is_err(), "another byte");
        assert!(total(Form::Text, &good.replace("id:128", "id:127"), 50).is_err(), "another offset");
        assert!(total(Form::Text, &good.replace(exit, ""), 50).is_err(), "no exit");
    }
}
