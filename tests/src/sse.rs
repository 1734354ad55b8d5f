//! Server-sent events, parsed as strictly as the contract writes them: one form of every line and nothing else.

use crate::streaming::{Streaming, find};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::time::{Duration, Instant};

/// One event.
#[derive(Debug, Clone)]
pub struct Event {
    /// After `event:`.
    pub name: String,
    /// The data lines, joined with LF.
    pub data: String,
    /// Offset behind the event, of `id:`.
    pub id: Option<u64>,
    /// Every byte, without the blank line.
    pub raw: String,
    /// When it was read.
    pub at: Instant,
}

/// The events of one answer.
#[derive(Debug)]
pub struct Events {
    /// The answer.
    pub answer: Streaming,
    /// Comments seen so far.
    pub comments: usize,
    pending: Vec<u8>,
    /// Bytes of `pending` that hold no end of an event.
    searched: usize,
}

/// A whole stream, taken apart.
#[derive(Debug, Clone, Default)]
pub struct Collected {
    /// Text of all `stdout` events.
    pub stdout: String,
    /// Text of all `stderr` events.
    pub stderr: String,
    /// `data` of the `exit` event.
    pub exit: Value,
    /// Every event.
    pub events: Vec<Event>,
}

impl Event {
    /// The data as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|e| panic!("{e} in {:?}", self.raw))
    }

    /// The bytes behind base64.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        STANDARD.decode(&self.data).unwrap_or_else(|e| panic!("{e} in {:?}", self.raw))
    }

    /// Whether it carries output.
    #[must_use]
    pub fn is_output(&self) -> bool {
        self.name == "stdout" || self.name == "stderr"
    }

    fn parse(raw: &str) -> Self {
        let (mut name, mut id, mut data) = (None, None, Vec::new());
        for line in raw.split('\n') {
            if let Some(value) = line.strip_prefix("event:") {
                assert!(
                    name.replace(value.to_owned()).is_none() && data.is_empty(),
                    "event: is first: {raw:?}"
                );
            } else if let Some(value) = line.strip_prefix("data:") {
                assert!(id.is_none(), "data after id: {raw:?}");
                data.push(value);
            } else if let Some(value) = line.strip_prefix("id:") {
                let offset = value.parse().unwrap_or_else(|e| panic!("id {value:?}: {e}"));
                assert!(id.replace(offset).is_none(), "two ids: {raw:?}");
            } else {
                panic!("a line of no known field in {raw:?}");
            }
        }
        let name = name.unwrap_or_else(|| panic!("no name: {raw:?}"));
        assert!(!name.starts_with(' ') && !data.is_empty(), "{raw:?}");
        Self { name, data: data.join("\n"), id, raw: raw.to_owned(), at: Instant::now() }
    }
}

impl Events {
    /// The events of an answer that must be a stream.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn of(mut answer: Streaming) -> Self {
        if answer.status != 200 {
            let body = answer.read_to_end();
            panic!("status {}: {}", answer.status, String::from_utf8_lossy(&body));
        }
        let kind = answer.header("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/event-stream"), "content type {kind:?}");
        Self { answer, comments: 0, pending: Vec::new(), searched: 0 }
    }

    /// The next event; `None` when the body is over.
    ///
    /// # Panics
    /// When the bytes are not what the contract writes, or the body ends within an event.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take() {
                return Some(event);
            }
            let more = self.answer.read();
            if more.is_empty() {
                assert!(self.pending.is_empty(), "ends within an event: {}", lossy(&self.pending));
                return None;
            }
            assert!(!more.contains(&b'\r'), "CR in {}", lossy(&more));
            self.pending.extend_from_slice(&more);
        }
    }

    /// The next event that is there within `time`.
    ///
    /// # Panics
    /// When there is none.
    pub fn within(&mut self, time: Duration) -> Event {
        self.answer.patience(time);
        let event = self.next_event().expect("an event, not the end");
        self.answer.patience(crate::streaming::PATIENCE);
        event
    }

    /// All the rest, whose last event must be the exit.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn collect(mut self) -> Collected {
        let mut all = Collected::default();
        while let Some(event) = self.next_event() {
            assert!(all.exit.is_null(), "after the exit: {event:?}");
            match event.name.as_str() {
                "stdout" => all.stdout += &event.data,
                "stderr" => all.stderr += &event.data,
                "exit" => all.exit = event.json(),
                "gap" => {}
                other => panic!("event {other:?}"),
            }
            assert!(!event.is_output() || !event.data.is_empty(), "an event without text: {event:?}");
            all.events.push(event);
        }
        assert!(all.exit["exitCode"].is_i64(), "no exit: {:?}", all.events.last());
        all
    }

    fn take(&mut self) -> Option<Event> {
        loop {
            if self.pending.starts_with(b":") {
                let end = find(&self.pending, b"\n")?;
                self.comments += 1;
                // A comment may be followed by a blank line of its own.
                let blank = usize::from(self.pending.get(end + 1) == Some(&b'\n'));
                self.pending.drain(..=end + blank);
                self.searched = 0;
                continue;
            }
            if self.pending.starts_with(b"\n") {
                self.pending.remove(0);
                continue;
            }
            let from = self.searched.saturating_sub(1);
            let Some(end) = find(&self.pending[from..], b"\n\n").map(|end| from + end) else {
                self.searched = self.pending.len();
                return None;
            };
            let rest = self.pending.split_off(end + 2);
            let raw = std::mem::replace(&mut self.pending, rest);
            self.searched = 0;
            let raw = std::str::from_utf8(&raw[..end]).unwrap_or_else(|e| panic!("{e}: {}", lossy(&raw)));
            return Some(Event::parse(raw));
        }
    }
}

impl Collected {
    /// Text of one kind of event and how often it came.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<&Event> {
        self.events.iter().filter(|event| event.name == name).collect()
    }

    /// `exitCode`.
    ///
    /// # Panics
    /// Never: [`Events::collect`] has looked.
    #[must_use]
    pub fn code(&self) -> i64 {
        self.exit["exitCode"].as_i64().expect("a collected stream has its exit")
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(2000)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_an_event_are_taken_apart() {
        let event = Event::parse("event:stdout\ndata: a\ndata:\nid:3");
        assert_eq!((event.name.as_str(), event.data.as_str(), event.id), ("stdout", " a\n", Some(3)));
    }

    #[test]
    #[should_panic(expected = "no known field")]
    fn other_lines_are_refused() {
        drop(Event::parse("event:stdout\nwrong"));
    }
}
