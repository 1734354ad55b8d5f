//! What a worker says, checked before anybody believes it: it runs in the sandbox.

use crate::agent_client::AgentError;
use crate::limits;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::files::{Entry, FileDone, MAX_PATH, PathText, WatchEvent};
use bulkhead_protocol::frame::{FrameType, HEADER_LEN, MAX_PAYLOAD};
use serde::de::DeserializeOwned;

/// The head of the frame at the start of these bytes: its type and the length of its payload.
pub(super) fn header(bytes: &[u8]) -> Result<Option<(FrameType, usize)>, AgentError> {
    let Some(head) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
    let kind = FrameType::from_byte(head[0]).ok_or(AgentError::Malformed("type of a frame"))?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    match usize::try_from(length) {
        Ok(length) if length <= MAX_PAYLOAD => Ok(Some((kind, length))),
        _ => Err(AgentError::Malformed("length of a frame")),
    }
}

/// The JSON of a frame or a line.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AgentError> {
    serde_json::from_slice(bytes).map_err(|_| AgentError::Malformed("json"))
}

/// The bytes of a path: absolute, without NUL, of a length that the system knows.
pub(crate) fn path(text: &PathText) -> Result<Vec<u8>, AgentError> {
    let bytes = STANDARD.decode(&text.0).map_err(|_| AgentError::Malformed("path"))?;
    let good = bytes.first() == Some(&b'/') && bytes.len() < MAX_PATH && !bytes.contains(&0);
    if good { Ok(bytes) } else { Err(AgentError::Malformed("path")) }
}

/// The end of an operation.
pub(super) fn done(bytes: &[u8]) -> Result<FileDone, AgentError> {
    let mut done: FileDone = parse(bytes)?;
    for count in [&mut done.bytes, &mut done.entries].into_iter().flatten() {
        *count = (*count).min(limits::MAX_COUNT);
    }
    if let Some(stat) = &mut done.stat {
        bound(stat);
    }
    Ok(done)
}

fn bound(entry: &mut Entry) {
    entry.size = entry.size.min(limits::MAX_COUNT);
}

/// One entry of a directory, and the bytes of its path.
pub(crate) fn entry(line: &[u8]) -> Result<(Vec<u8>, Entry), AgentError> {
    let mut entry: Entry = parse(line)?;
    bound(&mut entry);
    Ok((path(&entry.path)?, entry))
}

/// An event of a watch, and the bytes of its paths.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) event: WatchEvent,
    pub(crate) path: Vec<u8>,
    pub(crate) old_path: Option<Vec<u8>>,
}

/// One event of a watch.
pub(crate) fn event(line: &[u8]) -> Result<Seen, AgentError> {
    let event: WatchEvent = parse(line)?;
    let old_path = event.old_path.as_ref().map(path).transpose()?;
    Ok(Seen { path: path(&event.path)?, old_path, event })
}

/// Lines of JSON that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    bytes: Vec<u8>,
    start: usize,
}

impl Lines {
    /// Takes bytes, once [`Self::next`] has given every line that was there.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, AgentError> {
        let rest = &self.bytes[self.start..];
        let length = rest.iter().take(limits::FILE_JSON + 1).position(|byte| *byte == b'\n');
        match length {
            Some(length) => {
                let from = self.start;
                self.start += length + 1;
                Ok(Some(&self.bytes[from..from + length]))
            }
            None if rest.len() > limits::FILE_JSON => Err(AgentError::Malformed("long line")),
            None => Ok(None),
        }
    }

    /// Whether the beginning of a line is here.
    pub(crate) fn is_mid_line(&self) -> bool {
        self.start < self.bytes.len()
    }
}
