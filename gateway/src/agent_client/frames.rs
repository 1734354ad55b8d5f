//! The frames of one stream, in the only order they may come: `Started`, output, `Ended`, nothing. Keeps the
//! offset, so that every reader of a stream knows how far it has read.

use super::{AgentError, json};
use crate::limits;
use bulkhead_protocol::agent::{End, Ended, Gap, Started};
use bulkhead_protocol::frame::{Decoder, Frame, FrameType};
use tokio::time::Instant;

/// Which stream bytes were written to. A terminal has [`Source::Stdout`] only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// One frame, checked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// The sender lives.
    KeepAlive,
    /// The execution with this handle runs.
    Started(u64),
    /// At most [`limits::OUTPUT_ITEM`] bytes, never none; a longer frame comes in several items.
    Output(Source, &'a [u8]),
    /// Bytes that the agent no longer had.
    Gap(Gap),
    /// The last item.
    Ended(Ended),
}

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// `Started` must come.
    New,
    /// `Started` may come.
    Resumed,
    Running,
    Over,
}

/// Takes bytes of an agent and gives back items.
#[derive(Debug)]
pub(crate) struct Frames {
    decoder: Decoder,
    phase: Phase,
    /// Bytes of the last frame that were not given out yet, and whose output they are.
    left: Option<(Source, usize)>,
    offset: u64,
    empty: u64,
    since: Instant,
}

impl Frames {
    /// The frames of an execution from its start.
    pub(crate) fn new() -> Self {
        Self::at(Phase::New, 0)
    }

    /// The frames of an execution that was started elsewhere, from this offset.
    pub(crate) fn from(offset: u64) -> Self {
        Self::at(Phase::Resumed, offset)
    }

    fn at(phase: Phase, offset: u64) -> Self {
        Self { decoder: Decoder::default(), phase, left: None, offset, empty: 0, since: Instant::now() }
    }

    /// Offset behind the last item.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes bytes, once [`Self::next`] has given everything that was there.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        debug_assert!(self.left.is_none(), "the rest of a frame would be lost");
        self.decoder.feed(bytes);
    }

    /// The next item that is there; after an error the stream must not be used again.
    pub(crate) fn next(&mut self) -> Result<Option<Item<'_>>, AgentError> {
        if let Some((source, left)) = self.left {
            return Ok(Some(self.part(source, left)));
        }
        let frame = self.decoder.next_frame().map_err(|_| AgentError::Malformed("frame"))?;
        let Some(Frame { kind, payload }) = frame else { return Ok(None) };
        if payload.is_empty() || kind == FrameType::Optional {
            self.empty += 1;
            if self.empty > limits::EMPTY_FRAMES + self.since.elapsed().as_secs() {
                return Err(AgentError::Malformed("too many empty frames"));
            }
        }
        let item = match (kind, self.phase) {
            (_, Phase::Over) => return Err(AgentError::Malformed("bytes after the end")),
            (FrameType::KeepAlive, _) if payload.is_empty() => Item::KeepAlive,
            (FrameType::Optional, _) => Item::KeepAlive,
            (FrameType::Started, Phase::New | Phase::Resumed) => Item::Started(started(payload)?),
            (FrameType::Stdout | FrameType::Stderr, Phase::Resumed | Phase::Running)
                if payload.is_empty() =>
            {
                Item::KeepAlive
            }
            (FrameType::Stdout, Phase::Resumed | Phase::Running) => {
                let left = payload.len();
                return Ok(Some(self.part(Source::Stdout, left)));
            }
            (FrameType::Stderr, Phase::Resumed | Phase::Running) => {
                let left = payload.len();
                return Ok(Some(self.part(Source::Stderr, left)));
            }
            (FrameType::Gap, Phase::Resumed | Phase::Running) => Item::Gap(gap(payload, self.offset)?),
            (FrameType::Ended, Phase::Resumed | Phase::Running) => Item::Ended(ended(payload)?),
            (
                FrameType::KeepAlive
                | FrameType::Started
                | FrameType::Input
                | FrameType::InputEnd
                | FrameType::Head
                | FrameType::Done,
                _,
            )
            | (FrameType::Stdout | FrameType::Stderr | FrameType::Gap | FrameType::Ended, Phase::New) => {
                return Err(AgentError::Malformed("order of frames"));
            }
        };
        match &item {
            // Output is counted where it is given out.
            Item::KeepAlive | Item::Output(..) => {}
            Item::Started(_) => self.phase = Phase::Running,
            Item::Gap(gap) => {
                self.phase = Phase::Running;
                self.offset = gap.to;
            }
            Item::Ended(_) => self.phase = Phase::Over,
        }
        Ok(Some(item))
    }

    /// The next of the `left` bytes of the last frame.
    fn part(&mut self, source: Source, left: usize) -> Item<'_> {
        let count = left.min(limits::OUTPUT_ITEM);
        self.phase = Phase::Running;
        self.left = (count < left).then_some((source, left - count));
        self.offset = self.offset.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let payload = self.decoder.last_payload();
        Item::Output(source, &payload[payload.len() - left..][..count])
    }

    /// To be asked at the end: an agent that says more than it may is at fault.
    pub(crate) fn nothing_follows(&self) -> Result<(), AgentError> {
        if self.decoder.is_mid_frame() { Err(AgentError::Malformed("bytes after the end")) } else { Ok(()) }
    }
}

fn started(payload: &[u8]) -> Result<u64, AgentError> {
    let Started { handle } = json(payload)?;
    super::handle(handle)
}

fn gap(payload: &[u8], offset: u64) -> Result<Gap, AgentError> {
    let gap: Gap = json(payload)?;
    let sound = gap.from == offset && gap.to > gap.from && gap.to <= limits::MAX_COUNT;
    if sound { Ok(gap) } else { Err(AgentError::Malformed("gap")) }
}

/// Numbers that cannot be are an error, numbers that are only huge are cut.
fn ended(payload: &[u8]) -> Result<Ended, AgentError> {
    checked(json(payload)?)
}

/// See [`ended`]; also for an end that comes in a list.
pub(super) fn checked(mut ended: Ended) -> Result<Ended, AgentError> {
    if let End::Signaled { signal } = ended.end
        && !(1..=64).contains(&signal)
    {
        return Err(AgentError::Malformed("signal"));
    }
    let usage = &mut ended.usage;
    usage.wall_ms = usage.wall_ms.min(limits::MAX_COUNT);
    usage.cpu_ms = usage.cpu_ms.map(|ms| ms.min(limits::MAX_COUNT));
    usage.peak_memory_bytes = usage.peak_memory_bytes.map(|bytes| bytes.min(limits::MAX_COUNT));
    Ok(ended)
}
