//! What the gateway reads of agents, without a socket: entries of the fuzz targets.

use super::{AgentError, Budget, Collected, Frames, Item, calls, frames, json};
use crate::limits;
use bulkhead_protocol::agent::{Executions, Hello, InputTaken, Killed, SignalFailure, StartFailure, Started};
use bulkhead_protocol::frame::MAX_PAYLOAD;
use std::fmt::Write;

/// Every item of a stream as text, up to its end or its fault; `cut` are the bytes of one read.
///
/// # Panics
/// When an item is not what the gateway may be given.
#[must_use]
pub fn frames(bytes: &[u8], cut: usize) -> String {
    let mut stream = Frames::new();
    let mut told = String::new();
    for piece in bytes.chunks(cut.max(1)) {
        stream.feed(piece);
        loop {
            match stream.next() {
                Ok(None) => break,
                Ok(Some(item)) => {
                    if let Item::Output(_, output) = &item {
                        assert!((1..=MAX_PAYLOAD).contains(&output.len()), "{} bytes", output.len());
                    }
                    write!(told, "{item:?};").expect("a string takes all");
                }
                Err(_) => return told + "fault",
            }
            assert!(stream.offset() <= limits::MAX_COUNT + (1 << 32), "offset {}", stream.offset());
        }
    }
    told
}

/// An execution to its end, as `exec` collects it: how much was kept.
///
/// # Panics
/// When more was kept than may be.
#[must_use]
pub fn collected(bytes: &[u8]) -> usize {
    let (mut stream, mut all) = (Frames::new(), Collected::new(&Budget::default()));
    for piece in bytes.chunks(limits::PIECE) {
        stream.feed(piece);
        if !matches!(all.take(&mut stream), Ok(None)) {
            break;
        }
    }
    assert!(all.stdout.cut() <= limits::MAX_COUNT);
    let kept = all.stdout.into_parts().0.len() + all.stderr.into_parts().0.len();
    assert!(kept <= bytes.len().min(2 * limits::OUTPUT_WHOLE), "{kept} of {}", bytes.len());
    kept
}

/// The JSON of every unary answer: how many of them these bytes could be.
///
/// # Panics
/// When a number was believed that no client could read.
#[must_use]
pub fn answers(bytes: &[u8]) -> usize {
    let sound = |answer: Result<(), AgentError>| usize::from(answer.is_ok());
    let list = serde_json::from_slice::<Executions>(bytes).ok().map(|list| {
        for status in list.executions {
            if let (Ok(handle), Some(ended)) = (calls::handle(status.handle), status.ended)
                && let Ok(ended) = frames::checked(ended)
            {
                assert!(handle <= limits::MAX_COUNT && ended.usage.wall_ms <= limits::MAX_COUNT);
            }
        }
    });
    usize::from(list.is_some())
        + sound(json::<Hello>(bytes).map(drop))
        + sound(json::<Started>(bytes).and_then(|started| calls::handle(started.handle)).map(drop))
        + sound(json::<Killed>(bytes).map(drop))
        + sound(json::<InputTaken>(bytes).map(drop))
        + sound(json::<StartFailure>(bytes).map(drop))
        + sound(json::<SignalFailure>(bytes).map(drop))
}
