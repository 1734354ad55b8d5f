//! What a worker says, as the body of an answer: content as it is, or made into JSON as it comes. Holds one piece at
//! a time; what cannot be completed breaks off, so that no client takes a part for the whole.

use crate::agent_client::{AgentError, Lines, Piece, entry};
use crate::api::FileEntry;
use crate::service::files::{Broken, Feed};
use crate::ws::{Cutter, Tail};
use bytes::Bytes;
use std::task::{Context, Poll, ready};

/// How content becomes an answer.
#[derive(Debug)]
pub(crate) enum Form {
    /// As it is, exactly so many bytes.
    Exact(u64),
    /// As it is.
    Stream,
    /// Entries of a directory.
    Entries(Entries),
    /// The `stdout` of an answer.
    Text(Text),
}

/// Entries that become the members of a JSON array.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    lines: Lines,
    place: Place,
}

/// Text that becomes one JSON string.
#[derive(Debug)]
pub(crate) struct Text {
    /// Beginnings of characters whose rest has not come.
    held: Cutter,
    place: Place,
    /// Bytes that may still come.
    left: u64,
    ends: Ends,
}

/// What stands behind each line of a worker's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ends {
    /// An end of line, as in the answer.
    Lines,
    /// A NUL, which becomes one.
    Nuls,
}

/// Whether anything was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Start,
    Within,
}

impl Text {
    /// Text of at most so many bytes.
    pub(crate) fn new(most: u64, ends: Ends) -> Self {
        Self { held: Cutter::default(), place: Place::Start, left: most, ends }
    }
}

/// An answer that is being made.
#[derive(Debug)]
pub(crate) struct Files {
    feed: Box<Feed>,
    /// What was read before the answer began.
    first: Option<Piece>,
    form: Form,
    over: bool,
}

impl Files {
    pub(crate) fn new(feed: Box<Feed>, first: Option<Piece>, form: Form) -> Self {
        Self { feed, first, form, over: false }
    }

    /// How long it is, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        match self.form {
            Form::Exact(left) => Some(left),
            Form::Stream | Form::Entries(_) | Form::Text(_) => None,
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Broken>>> {
        while !self.over {
            let piece = match self.first.take() {
                Some(first) => Ok(first),
                None => ready!(self.feed.poll_piece(cx)),
            };
            let made = match piece {
                Err(broken) => return Poll::Ready(Some(Err(broken))),
                Ok(Piece::Done(done)) if done.failure.is_some() => return Poll::Ready(Some(Err(Broken))),
                Ok(Piece::Done(_)) => {
                    self.over = true;
                    self.form.end()
                }
                Ok(Piece::Content(bytes)) => self.form.take(bytes),
            };
            match made {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                Err(error) => {
                    self.over = false;
                    self.feed.broke(error);
                }
            }
        }
        Poll::Ready(None)
    }
}

impl Form {
    fn take(&mut self, bytes: Bytes) -> Result<Bytes, AgentError> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        match self {
            Self::Stream => Ok(bytes),
            Self::Exact(left) => {
                *left = left.checked_sub(length).ok_or(AgentError::Malformed("more content than it said"))?;
                Ok(bytes)
            }
            Self::Entries(entries) => entries.take(&bytes),
            Self::Text(text) => {
                text.left = text.left.checked_sub(length).ok_or(AgentError::Malformed("long text"))?;
                text.held.push(&bytes);
                text.made(Tail::Hold)
            }
        }
    }

    fn end(&mut self) -> Result<Bytes, AgentError> {
        match self {
            Self::Exact(0) | Self::Stream => Ok(Bytes::new()),
            Self::Exact(_) => Err(AgentError::Malformed("less content than it said")),
            Self::Entries(entries) => entries.end(),
            Self::Text(text) => {
                let mut json = text.made(Tail::Release)?.to_vec();
                text.place.open(&mut json, TEXT_OPEN);
                json.extend_from_slice(TEXT_CLOSE);
                Ok(Bytes::from(json))
            }
        }
    }
}

const LIST_OPEN: &[u8] = br#"{"status":"success","message":"ok","data":{"success":true,"files":["#;
const LIST_CLOSE: &[u8] = b"]}}";
const TEXT_OPEN: &[u8] = br#"{"status":"success","message":"ok","data":{"stdout":""#;
const TEXT_CLOSE: &[u8] = br#"","stderr":"","exitCode":0}}"#;

impl Place {
    /// Writes the opening, the first time; whether this was it.
    fn open(&mut self, json: &mut Vec<u8>, opening: &[u8]) -> Self {
        let before = std::mem::replace(self, Self::Within);
        if before == Self::Start {
            json.extend_from_slice(opening);
        }
        before
    }
}

impl Entries {
    fn take(&mut self, bytes: &[u8]) -> Result<Bytes, AgentError> {
        let mut json = Vec::with_capacity(bytes.len());
        self.lines.push(bytes);
        while let Some(line) = self.lines.next()? {
            let (path, entry) = entry(line)?;
            if self.place.open(&mut json, LIST_OPEN) == Place::Within {
                json.push(b',');
            }
            serde_json::to_writer(&mut json, &FileEntry::new(&path, &entry))
                .map_err(|_| AgentError::Malformed("entry"))?;
        }
        Ok(Bytes::from(json))
    }

    fn end(&mut self) -> Result<Bytes, AgentError> {
        if self.lines.is_mid_line() {
            return Err(AgentError::Malformed("half a line"));
        }
        let mut json = Vec::new();
        self.place.open(&mut json, LIST_OPEN);
        json.extend_from_slice(LIST_CLOSE);
        Ok(Bytes::from(json))
    }
}

impl Text {
    /// What can go out now, escaped.
    fn made(&mut self, tail: Tail) -> Result<Bytes, AgentError> {
        let mut json = Vec::new();
        while let Some(bytes) = self.held.take(tail) {
            self.place.open(&mut json, TEXT_OPEN);
            let text = String::from_utf8_lossy(&bytes);
            let text = match self.ends {
                Ends::Lines => text,
                Ends::Nuls => text.replace('\0', "\n").into(),
            };
            let quoted = serde_json::to_string(&text).map_err(|_| AgentError::Malformed("text"))?;
            json.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
        }
        Ok(Bytes::from(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn text(form: &mut Form, pieces: &[&[u8]]) -> Value {
        let mut all = Vec::new();
        for piece in pieces {
            all.extend_from_slice(&form.take(Bytes::copy_from_slice(piece)).unwrap());
        }
        all.extend_from_slice(&form.end().unwrap());
        serde_json::from_slice(&all).unwrap()
    }

    #[test]
    fn text_is_escaped_and_no_character_is_cut() {
        let mut form = Form::Text(Text::new(100, Ends::Nuls));
        let value = text(&mut form, &[b"/a\"\xe2\x82", b"\xac\n\0/b\xff", b"\0\xe2"]);
        assert_eq!(value["data"]["stdout"], "/a\"\u{20ac}\n\n/b\u{fffd}\n\u{fffd}");
        assert_eq!(value["data"]["exitCode"], 0);
        let mut form = Form::Text(Text::new(3, Ends::Lines));
        assert_eq!(text(&mut form, &[])["data"], json!({"stdout": "", "stderr": "", "exitCode": 0}));
        assert!(form.take(Bytes::from_static(b"four")).is_err());
    }

    #[test]
    fn entries_become_an_array_however_they_are_cut() {
        let line = |path: &str| {
            format!(
                "{{\"path\":\"{path}\",\"kind\":\"directory\",\"size\":4096,\"mode\":16877,\"uid\":0,\"gid\":0,\
                 \"modified_us\":1000000,\"target\":null}}\n"
            )
        };
        let wire = [line("L3Jvb3QvYQ=="), line("L3Jvb3Qv/w==")].concat();
        for cut in [1, 7, wire.len()] {
            let pieces: Vec<_> = wire.as_bytes().chunks(cut).collect();
            let value = text(&mut Form::Entries(Entries::default()), &pieces);
            let files = value["data"]["files"].as_array().unwrap();
            assert_eq!(
                files[0],
                json!({"name": "a", "path": "/root/a", "size": 4096, "mode": "0755", "isDir": true,
                    "modTime": "1970-01-01T00:00:01Z"})
            );
            assert_eq!(
                (&files[1]["name"], &files[1]["pathBase64"]),
                (&json!("\u{fffd}"), &json!("L3Jvb3Qv/w=="))
            );
        }
        let empty = text(&mut Form::Entries(Entries::default()), &[]);
        assert_eq!(empty["data"], json!({"success": true, "files": []}));
        let mut half = Form::Entries(Entries::default());
        assert!(half.take(Bytes::from_static(b"{\"path\"")).unwrap().is_empty());
        assert!(half.end().is_err());
        assert!(Form::Entries(Entries::default()).take(Bytes::from_static(b"{}\n")).is_err());
    }

    #[test]
    fn exact_content_is_neither_longer_nor_shorter() {
        let mut form = Form::Exact(3);
        assert_eq!(form.take(Bytes::from_static(b"ab")).unwrap(), "ab");
        assert!(form.end().is_err());
        assert!(form.take(Bytes::from_static(b"cd")).is_err());
        assert!(form.take(Bytes::from_static(b"c")).is_ok());
        assert!(form.end().unwrap().is_empty());
    }
}
