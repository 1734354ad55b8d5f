//! The answer of an exec, made piece by piece: output becomes JSON text as the client takes it, so that 16
//! MiB of control characters never become 96 MiB of memory. Bytes that are no UTF-8 are replaced.

use crate::api::{End, ExecTail, Truncated, Usage};
use crate::limits::PIECE;
use crate::service::exec::{Failure, Finish, Outcome, word};
use bulkhead_protocol::agent;
use bytes::Bytes;
use hyper::StatusCode;
use std::fmt::Write;
use tokio::sync::OwnedSemaphorePermit;

use super::{Reply, ReplyBody, with};

const TIMEOUT_NOTE: &str = "the time was up; everything that ran was killed\n";

/// What comes next.
#[derive(Debug, Clone, Copy)]
enum Stage {
    Stdout(usize),
    Stderr(usize),
    Tail,
    End,
}

/// The text of one answer, as an iterator.
#[derive(Debug)]
pub(crate) struct Pieces {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    tail: ExecTail,
    stage: Stage,
    /// The output's place in the budget: given back when the answer is out.
    _held: [Vec<OwnedSemaphorePermit>; 2],
}

impl Pieces {
    pub(crate) fn new(outcome: Outcome) -> Self {
        let tail = tail(&outcome);
        let (stdout, held_out) = outcome.stdout.into_parts();
        let (mut stderr, held_err) = outcome.stderr.into_parts();
        if outcome.finish == Finish::Told(agent::End::Timeout) {
            note(&mut stderr, TIMEOUT_NOTE);
        }
        Self { stdout, stderr, tail, stage: Stage::Stdout(0), _held: [held_out, held_err] }
    }

    /// For a failure after the head of the answer is out: what came, and the reason as a note.
    pub(crate) fn failed(failure: Failure) -> Self {
        let mut pieces = Self::new(failure.so_far);
        note(&mut pieces.stderr, &failure.error.message);
        pieces.stderr.push(b'\n');
        pieces
    }

    /// A whole answer where it is short, else one that is made as it is taken.
    pub(crate) fn reply(mut self) -> Reply {
        let json = super::JSON;
        if self.stdout.len() + self.stderr.len() > PIECE {
            return with(StatusCode::OK, json, ReplyBody::Pieces(Box::new(self)));
        }
        let mut all = Vec::with_capacity(256 + self.stdout.len() + self.stderr.len());
        for piece in &mut self {
            all.extend_from_slice(&piece);
        }
        with(StatusCode::OK, json, ReplyBody::Whole(Bytes::from(all)))
    }

    fn tail_text(&self) -> String {
        let tail = serde_json::to_string(&self.tail).unwrap_or_else(|error| {
            tracing::error!(%error, "the end of an answer could not be encoded");
            r#"{"exitCode":137}"#.to_owned()
        });
        format!("\",{}}}", tail.trim_start_matches('{'))
    }
}

/// Puts a line of ours at the end of a stream.
fn note(stream: &mut Vec<u8>, text: &str) {
    if stream.last().is_some_and(|last| *last != b'\n') {
        stream.push(b'\n');
    }
    stream.extend_from_slice(text.as_bytes());
}

impl Iterator for Pieces {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let mut text = String::new();
        self.stage = match self.stage {
            Stage::Stdout(from) => {
                if from == 0 {
                    text.push_str(r#"{"status":"success","message":"ok","data":{"stdout":""#);
                }
                match escape(&self.stdout, from, &mut text) {
                    Some(next) => Stage::Stdout(next),
                    None => {
                        text.push_str(r#"","stderr":""#);
                        Stage::Stderr(0)
                    }
                }
            }
            Stage::Stderr(from) => match escape(&self.stderr, from, &mut text) {
                Some(next) => Stage::Stderr(next),
                None => Stage::Tail,
            },
            Stage::Tail => {
                text.push_str(&self.tail_text());
                Stage::End
            }
            Stage::End => return None,
        };
        // An empty frame would end a chunked body.
        if text.is_empty() { self.next() } else { Some(Bytes::from(text)) }
    }
}

/// Appends up to a quarter of a piece as the inside of a JSON string; gives where to go on, `None` at the
/// end.
fn escape(bytes: &[u8], from: usize, text: &mut String) -> Option<usize> {
    let mut to = bytes.len().min(from + PIECE / 4);
    // Not in the middle of a character, which has at most three bytes after its first.
    for _ in 0..3 {
        if bytes.get(to).is_some_and(|byte| byte & 0xc0 == 0x80) && to > from + 3 {
            to -= 1;
        }
    }
    for chunk in bytes.get(from..to)?.utf8_chunks() {
        escape_text(chunk.valid(), text);
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (to < bytes.len()).then_some(to)
}

fn escape_text(valid: &str, text: &mut String) {
    let mut plain = 0;
    for (at, byte) in valid.bytes().enumerate() {
        let short = match byte {
            b'"' => Some("\\\""),
            b'\\' => Some("\\\\"),
            b'\n' => Some("\\n"),
            b'\r' => Some("\\r"),
            b'\t' => Some("\\t"),
            0..0x20 => None,
            _ => continue,
        };
        text.push_str(&valid[plain..at]);
        plain = at + 1;
        match short {
            Some(escape) => text.push_str(escape),
            // Writing into a String cannot fail.
            None => write!(text, "\\u{byte:04x}").unwrap_or_default(),
        }
    }
    text.push_str(&valid[plain..]);
}

fn tail(outcome: &Outcome) -> ExecTail {
    let (exit_code, end) = ending(outcome.finish);
    ExecTail {
        exit_code,
        end,
        usage: used(outcome.usage),
        truncated: Truncated { stdout: outcome.stdout.cut(), stderr: outcome.stderr.cut() },
        output_open: outcome.output_open.then_some(true),
    }
}

/// The shell's word for an end, and the whole of it.
pub(crate) fn ending(finish: Finish) -> (u8, End) {
    let (exit_code, code, signal) = match finish {
        Finish::Told(agent::End::Exited { code }) => (code, Some(code), None),
        Finish::Told(agent::End::Signaled { signal }) => (128_u8.saturating_add(signal), None, Some(signal)),
        Finish::Told(agent::End::Timeout) => (124, None, None),
        Finish::Told(agent::End::Oom | agent::End::Killed) | Finish::Slept | Finish::Gone => {
            (137, None, None)
        }
    };
    (exit_code, End { kind: word(finish), code, signal })
}

pub(super) fn used(usage: agent::Usage) -> Usage {
    Usage { cpu_ms: usage.cpu_ms, wall_ms: usage.wall_ms, peak_memory_bytes: usage.peak_memory_bytes }
}

#[cfg(test)]
mod tests;
