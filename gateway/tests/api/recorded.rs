//! An agent of an earlier release, as it was: what one said is played back, and what it heard then has to be said again.
//!
//! A recording is made by the same test. With [`RECORD`] set to the socket of a real agent of that release, every
//! connection is passed on and written down. Such an agent is what agent/tests/serve/lent.rs keeps, given the old
//! program in `BULKHEAD_AGENT_PROGRAM`. A recording is never edited.

use crate::agent::request;
use crate::world::eventually;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The variable that makes a recording, in the place of the one that is there.
const RECORD: &str = "BULKHEAD_RECORD_AGENT";
/// What is played.
const FILE: &str = "tests/recorded/agent-1.jsonl";

/// One connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Conversation {
    /// Method and target.
    asked: String,
    /// Every byte is one character, here and below.
    body: String,
    turns: Vec<Turn>,
    closed_by: Side,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Turn {
    /// By the agent.
    Said(String),
    /// By the gateway, behind its request.
    Sent(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    Agent,
    Gateway,
}

/// A recording that is played, or made.
pub(crate) struct Recorded {
    /// A real agent.
    source: Option<PathBuf>,
    /// Still to come, or heard so far.
    conversations: Mutex<Vec<Conversation>>,
    faults: Mutex<Vec<String>>,
    /// Connections under way.
    open: AtomicUsize,
}

impl Default for Recorded {
    fn default() -> Self {
        let source = std::env::var_os(RECORD).map(PathBuf::from);
        let text = if source.is_some() { String::new() } else { std::fs::read_to_string(file()).unwrap() };
        let conversations = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self {
            source,
            conversations: Mutex::new(conversations),
            faults: Mutex::default(),
            open: AtomicUsize::new(0),
        }
    }
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE)
}

fn text(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(char).unwrap()).collect()
}

/// The random part of a hello.
fn nonce(body: &str) -> Option<String> {
    Some(serde_json::from_str::<Value>(body).ok()?.get("nonce")?.as_str()?.to_owned())
}

/// What must be the same in a request: of a hello neither its nonce nor the gateway's own version.
fn essence(body: &str) -> Value {
    let Ok(mut value) = serde_json::from_str::<Value>(body) else { return Value::from(body) };
    if let Some(fields) = value.as_object_mut()
        && fields.remove("nonce").is_some()
    {
        fields.remove("protocol");
    }
    value
}

impl Recorded {
    /// One connection of the gateway, to its end.
    pub(crate) fn serve(&self, stream: UnixStream) -> io::Result<()> {
        self.open.fetch_add(1, Ordering::SeqCst);
        let outcome = self.converse(stream);
        self.open.fetch_sub(1, Ordering::SeqCst);
        outcome
    }

    fn converse(&self, mut stream: UnixStream) -> io::Result<()> {
        let (head, body) = request(&mut stream)?;
        let asked = head.split(" HTTP/").next().unwrap().to_owned();
        let mut conversation =
            Conversation { asked, body: text(&body), turns: Vec::new(), closed_by: Side::Agent };
        if let Some(source) = &self.source {
            let mut agent = UnixStream::connect(source)?;
            agent.write_all(&[head.as_bytes(), &body].concat())?;
            (conversation.turns, conversation.closed_by) = pass_on(&stream, &agent)?;
            self.conversations.lock().unwrap().push(conversation);
            return Ok(());
        }
        let told = self.take(&conversation).map_or_else(
            || Err(format!("nobody asked this then: {} {}", conversation.asked, conversation.body)),
            |then| play(&mut stream, &then, &conversation.body),
        );
        self.faults.lock().unwrap().extend(told.err());
        Ok(())
    }

    /// The first conversation that began like this one and was not played yet.
    fn take(&self, now: &Conversation) -> Option<Conversation> {
        let mut left = self.conversations.lock().unwrap();
        let same = |then: &Conversation| then.asked == now.asked && essence(&then.body) == essence(&now.body);
        let at = left.iter().position(same)?;
        Some(left.remove(at))
    }

    /// The end of the test: keeps a recording that was made; of one that was played nothing may be left.
    pub(crate) fn finish(&self) {
        eventually("every connection is closed", || self.open.load(Ordering::SeqCst) == 0);
        let conversations = self.conversations.lock().unwrap();
        if self.source.is_none() {
            assert_eq!(*self.faults.lock().unwrap(), Vec::<String>::new());
            let left: Vec<_> = conversations.iter().map(|then| &then.asked).collect();
            assert!(left.is_empty(), "not asked any more: {left:?}");
            return;
        }
        let line = |conversation| serde_json::to_string(conversation).unwrap() + "\n";
        std::fs::write(file(), conversations.iter().map(line).collect::<String>()).unwrap();
    }
}

/// Plays one conversation.
fn play(stream: &mut UnixStream, then: &Conversation, body: &str) -> Result<(), String> {
    let asked = &then.asked;
    let said = |said: &str| match (nonce(&then.body), nonce(body)) {
        (Some(old), Some(new)) => bytes(&said.replace(&old, &new)),
        _ => bytes(said),
    };
    for turn in &then.turns {
        match turn {
            Turn::Said(words) => {
                stream.write_all(&said(words)).map_err(|error| format!("{asked}: {error}"))?
            }
            Turn::Sent(words) => {
                let mut now = vec![0; bytes(words).len()];
                stream
                    .read_exact(&mut now)
                    .map_err(|error| format!("{asked}: {words:?} is missing: {error}"))?;
                if now != bytes(words) {
                    return Err(format!("{asked}: {:?} instead of {words:?}", text(&now)));
                }
            }
        }
    }
    let mut more = Vec::new();
    if then.closed_by == Side::Gateway && stream.read_to_end(&mut more).is_ok() && !more.is_empty() {
        return Err(format!("{asked}: {:?} as well", text(&more)));
    }
    Ok(())
}

/// Lets both talk to one another until both have closed: what they said, in order, and who closed first.
fn pass_on(gateway: &UnixStream, agent: &UnixStream) -> io::Result<(Vec<Turn>, Side)> {
    let heard: Arc<Mutex<(Vec<Turn>, Option<Side>)>> = Arc::default();
    let upward = {
        let (heard, from, to) = (Arc::clone(&heard), gateway.try_clone()?, agent.try_clone()?);
        std::thread::spawn(move || copy(from, to, Side::Gateway, &heard))
    };
    copy(agent.try_clone()?, gateway.try_clone()?, Side::Agent, &heard);
    // What the agent has closed is over for the gateway too.
    gateway.shutdown(Shutdown::Both).unwrap_or_default();
    upward.join().unwrap();
    let (turns, closed_by) = std::mem::take(&mut *heard.lock().unwrap());
    Ok((turns, closed_by.unwrap()))
}

fn copy(mut from: UnixStream, mut to: UnixStream, side: Side, heard: &Mutex<(Vec<Turn>, Option<Side>)>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let words = text(&buffer[..count]);
        // Written down before it can be answered.
        let mut heard = heard.lock().unwrap();
        let turns = &mut heard.0;
        match (side, turns.last_mut()) {
            (Side::Agent, Some(Turn::Said(last))) | (Side::Gateway, Some(Turn::Sent(last))) => {
                last.push_str(&words);
            }
            (Side::Agent, _) => turns.push(Turn::Said(words)),
            (Side::Gateway, _) => turns.push(Turn::Sent(words)),
        }
        drop(heard);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    heard.lock().unwrap().1.get_or_insert(side);
    to.shutdown(Shutdown::Write).unwrap_or_default();
}
