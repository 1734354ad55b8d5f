//! What a shell session's command says, as lines of JSON (contract §8). Dropping it leaves the command, which
//! goes on.

use crate::agent_client::Source;
use crate::api::SessionLine;
use crate::service::session::Word;
use crate::ws::{Cutter, Tail};
use bytes::Bytes;
use std::task::{Context, Poll, ready};
use tokio::sync::mpsc::Receiver;

/// The lines of one command.
#[derive(Debug)]
pub(crate) struct Lines {
    words: Receiver<Word>,
    /// Beginnings of characters whose rest has not come, by stream.
    held: [Cutter; 2],
    ended: bool,
}

impl Lines {
    pub(crate) fn new(words: Receiver<Word>) -> Self {
        Self { words, held: [Cutter::default(), Cutter::default()], ended: false }
    }

    /// The next lines; `None` at the end.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let mut text = Vec::new();
        while text.is_empty() {
            if self.ended {
                return Poll::Ready(None);
            }
            match ready!(self.words.poll_recv(cx)) {
                Some(Word::Output(source, bytes)) => {
                    self.held[index(source)].push(&bytes);
                    self.flush(source, Tail::Hold, &mut text);
                }
                Some(Word::Exit(code)) => self.end(&SessionLine::exit(code), &mut text),
                Some(Word::Timeout) => self.end(&SessionLine::exit(124), &mut text),
                Some(Word::Failed(error)) => self.end(&SessionLine::error(&error.message), &mut text),
                None => self.end(&SessionLine::error("internal error"), &mut text),
            }
        }
        Poll::Ready(Some(Bytes::from(text)))
    }

    fn flush(&mut self, source: Source, tail: Tail, text: &mut Vec<u8>) {
        while let Some(bytes) = self.held[index(source)].take(tail) {
            put(&SessionLine::output(source, &String::from_utf8_lossy(&bytes)), text);
        }
    }

    fn end(&mut self, last: &SessionLine<'_>, text: &mut Vec<u8>) {
        self.flush(Source::Stdout, Tail::Release, text);
        self.flush(Source::Stderr, Tail::Release, text);
        put(last, text);
        self.ended = true;
    }
}

fn index(source: Source) -> usize {
    usize::from(source == Source::Stderr)
}

fn put(line: &SessionLine<'_>, text: &mut Vec<u8>) {
    match serde_json::to_vec(line) {
        Ok(bytes) => {
            text.extend_from_slice(&bytes);
            text.push(b'\n');
        }
        Err(error) => tracing::error!(%error, "a line could not be encoded"),
    }
}
