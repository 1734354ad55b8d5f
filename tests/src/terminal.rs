//! A terminal over a WebSocket, for tests that read like somebody at a keyboard.

use crate::client::Client;
use crate::eventually::patience;
use crate::websocket::{Message, WebSocket};
use std::time::{Duration, Instant};

/// What a shell of the sandbox ends its prompt with.
pub const PROMPT: &str = "# ";

/// A terminal and all it has shown.
#[derive(Debug)]
pub struct Terminal {
    /// The connection.
    pub socket: WebSocket,
    /// Bytes that came.
    pub seen: Vec<u8>,
    /// Text messages, which are words of the server and no output.
    pub words: Vec<String>,
    /// How the server closed, if it has.
    pub closed: Option<Message>,
}

impl Terminal {
    /// Opens `/api<path>` with the client's key, as the SDKs do.
    ///
    /// # Panics
    /// When the upgrade is refused.
    #[must_use]
    pub fn open(client: &Client, path: &str, query: &str) -> Self {
        let target = format!("/api{path}?apiKey={}{query}", client.key());
        let socket = WebSocket::connect(client.address(), &target, &[]);
        let socket = socket.unwrap_or_else(|answer| panic!("{path}: {}", answer.text));
        Self { socket, seen: Vec::new(), words: Vec::new(), closed: None }
    }

    /// Everything seen, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }

    /// Types.
    pub fn send(&mut self, keys: &str) {
        self.socket.text(keys);
    }

    /// Reads what comes within `time`; false when nothing did.
    ///
    /// # Panics
    /// When a message cuts a character in two that the terminal wrote whole.
    pub fn read(&mut self, time: Duration) -> bool {
        match self.socket.receive(time) {
            Some(Message::Data(bytes)) => {
                let end = self.seen.len().saturating_sub(3);
                assert!(!is_cut(&self.seen[end..], &bytes), "no whole characters: {bytes:?}");
                self.seen.extend_from_slice(&bytes);
                true
            }
            Some(Message::Text(text)) => {
                self.words.push(text);
                true
            }
            Some(Message::Pong(_)) => true,
            Some(end) => {
                self.closed = Some(end);
                false
            }
            None => false,
        }
    }

    /// Reads until the [`plain`] text that came after position `from` satisfies `good`; gives that text back.
    ///
    /// # Panics
    /// When it does not in time; the message holds the text.
    pub fn until(&mut self, from: usize, what: &str, good: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            // What is there already is taken first: looking at a long text for each frame of it takes long.
            for _ in 0..512 {
                if !self.read(Duration::from_millis(2)) {
                    break;
                }
            }
            let text = plain(&self.seen[from..]);
            if good(&text) {
                return text;
            }
            let left = patience().saturating_sub(start.elapsed());
            let more = !left.is_zero() && self.closed.is_none() && self.read(left);
            assert!(more || self.closed.is_none(), "{what}: closed with {:?} after {text:?}", self.closed);
            assert!(more, "{what}: not in time; {text:?}");
        }
    }

    /// How the server closes, whatever it says before.
    ///
    /// # Panics
    /// When it does not within `time`.
    pub fn end(&mut self, time: Duration) -> Message {
        self.closed.take().unwrap_or_else(|| self.socket.end(time))
    }

    /// Reads until the prompt is the last thing.
    pub fn prompt(&mut self) -> String {
        self.until(0, "a prompt", |text| text.ends_with(PROMPT))
    }

    /// Types a line and reads until the next prompt: echo, output and prompt.
    pub fn command(&mut self, line: &str) -> String {
        let from = self.seen.len();
        self.send(&format!("{line}\n"));
        self.until(from, line, |text| text.contains('\n') && text.ends_with(PROMPT))
    }
}

/// Whether one character lies on both sides of the line between two pieces of output. What a terminal wrote need not be
/// text: its echo of a key comes between the bytes of a character that a program is writing, and then nothing is cut.
fn is_cut(before: &[u8], after: &[u8]) -> bool {
    let begun = before.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    let is_begun = |bytes| std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none());
    let Some(first) = after.first().filter(|_| is_begun(begun)) else { return false };
    let joined = [begun, &[*first]].concat();
    std::str::from_utf8(&joined).is_ok() || is_begun(&joined)
}

/// What was shown, without the shell's word to the terminal that a paste may come or not.
#[must_use]
pub fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace("\u{1b}[?2004h", "").replace("\u{1b}[?2004l\r", "")
}

#[cfg(test)]
mod tests {
    use super::is_cut;

    #[test]
    fn a_character_is_cut_where_its_bytes_would_have_gone_together() {
        let bytes = "a😀é".as_bytes();
        for at in 0..=bytes.len() {
            let (before, after) = bytes.split_at(at);
            assert_eq!(is_cut(before, after), !"a😀é".is_char_boundary(at), "at {at}");
        }
        assert!(!is_cut(&bytes[2..4], &bytes[4..]), "the beginning is not known");
        assert!(!is_cut(b"\xf0\x9f", b"^C\r\n") && !is_cut(b"\xf0\x9f^C", b"\x98\x80"), "an echo in between");
        assert!(!is_cut(b"\xff", b"a") && !is_cut(b"\xf0\x9f", b""));
    }
}
