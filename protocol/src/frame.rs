//! Frames between gateway and agent: `u8 type | u32 length, big endian | payload`.
//!
//! They are the body of an HTTP answer (output of an execution) or what runs over an upgraded connection
//! (a terminal). The decoder trusts nothing: the length is checked before anything is allocated.

/// Bytes before the payload.
pub const HEADER_LEN: usize = 5;
/// Longest payload in bytes; a longer one is an error, not a request for memory.
pub const MAX_PAYLOAD: usize = 64 << 10;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameType {
    /// Nothing; says that the sender lives. Sent each [`crate::agent::KEEP_ALIVE_SECONDS`].
    KeepAlive = 0,
    /// JSON of [`crate::agent::Started`]: first frame of every execution.
    Started = 1,
    /// Bytes that the program wrote to standard output.
    Stdout = 2,
    /// Bytes that the program wrote to standard error.
    Stderr = 3,
    /// JSON of [`crate::agent::Gap`]: bytes that the journal no longer has.
    Gap = 4,
    /// JSON of [`crate::agent::Ended`]: last frame of every execution.
    Ended = 5,
    /// Bytes typed into a terminal, or the content of an upload; goes to the agent.
    Input = 6,
    /// Nothing; the content of an upload is complete. Goes to the agent.
    InputEnd = 7,
    /// JSON of [`crate::files::FileHead`]: first frame of every file operation.
    Head = 8,
    /// JSON of [`crate::files::FileDone`]: last frame of every file operation that begins.
    Done = 9,
    /// Whatever a later version says that needs no understanding: any type from [`OPTIONAL`] on. It is skipped.
    Optional = OPTIONAL,
}

/// Types from here on may be skipped by who does not know them; any other that is not known is an error. So a version
/// can say more without another being confused.
pub const OPTIONAL: u8 = 128;

impl FrameType {
    /// The type that this byte names.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::KeepAlive,
            1 => Self::Started,
            2 => Self::Stdout,
            3 => Self::Stderr,
            4 => Self::Gap,
            5 => Self::Ended,
            6 => Self::Input,
            7 => Self::InputEnd,
            8 => Self::Head,
            9 => Self::Done,
            OPTIONAL.. => Self::Optional,
            _ => return None,
        })
    }
}

/// One frame, its payload borrowed from the decoder's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameType,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: &'a [u8],
}

/// Bytes that are no frame. The connection they came from cannot be trusted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// The first byte names no [`FrameType`].
    UnknownType(u8),
    /// The length is above [`MAX_PAYLOAD`].
    TooLong(u32),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UnknownType(byte) => write!(f, "frame of unknown type {byte}"),
            Self::TooLong(len) => write!(f, "frame of {len} bytes, at most {MAX_PAYLOAD} are allowed"),
        }
    }
}

impl std::error::Error for FrameError {}

/// The header of a frame with a payload of `len` bytes.
///
/// # Panics
/// When `len` is above [`MAX_PAYLOAD`]: senders cut, they never ask.
#[must_use]
pub fn header(kind: FrameType, len: usize) -> [u8; HEADER_LEN] {
    assert!(len <= MAX_PAYLOAD, "a frame of {len} bytes");
    let length = u32::try_from(len).expect("MAX_PAYLOAD fits u32").to_be_bytes();
    [kind as u8, length[0], length[1], length[2], length[3]]
}

/// Appends one frame to `out`. See [`header`] for the bound.
pub fn encode(kind: FrameType, payload: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(kind, payload.len()));
    out.extend_from_slice(payload);
}

/// Collects bytes as they come and gives back whole frames.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    /// Length of the last frame's payload, which ends at `start`.
    last: usize,
}

impl Decoder {
    /// Takes bytes. The caller bounds how much it feeds between two calls of [`Self::next_frame`].
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            (self.start, self.last) = (0, 0);
        }
        // Not doubled: hundreds of streams may stand with what they hold.
        self.buffer.reserve_exact(bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame, or `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`]; the decoder must not be used again.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let pending = &self.buffer[self.start..];
        let Some((head, rest)) = pending.split_first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let kind = FrameType::from_byte(head[0]).ok_or(FrameError::UnknownType(head[0]))?;
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let len = usize::try_from(length).unwrap_or(usize::MAX);
        if len > MAX_PAYLOAD {
            return Err(FrameError::TooLong(length));
        }
        if rest.len() < len {
            return Ok(None);
        }
        let from = self.start + HEADER_LEN;
        (self.start, self.last) = (from + len, len);
        Ok(Some(Frame { kind, payload: &self.buffer[from..from + len] }))
    }

    /// The payload of the frame that came last, until the next call of [`Self::feed`].
    #[must_use]
    pub fn last_payload(&self) -> &[u8] {
        &self.buffer[self.start - self.last..self.start]
    }

    /// Whether bytes of an unfinished frame are waiting: at the end of a stream this is an error.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.start < self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_headers_are_errors_before_any_payload() {
        let mut decoder = Decoder::default();
        decoder.feed(&[10, 0, 0, 0, 0]);
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownType(10)));
        let mut decoder = Decoder::default();
        decoder.feed(&[200, 0, 0, 0, 1, 7]);
        let frame = Frame { kind: FrameType::Optional, payload: &[7] };
        assert_eq!(decoder.next_frame(), Ok(Some(frame)), "a later version may say more");
        let mut decoder = Decoder::default();
        decoder.feed(&[2, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_frame(), Err(FrameError::TooLong(u32::MAX)));
    }

    proptest! {
        #[test]
        fn any_cut_of_any_frames_gives_the_same_frames(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            cut in 1usize..64,
        ) {
            let mut wire = Vec::new();
            for payload in &payloads {
                encode(FrameType::Stdout, payload, &mut wire);
            }
            let mut decoder = Decoder::default();
            let mut got: Vec<Vec<u8>> = Vec::new();
            for piece in wire.chunks(cut) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    let payload = frame.payload.to_vec();
                    prop_assert_eq!(decoder.last_payload(), &payload[..]);
                    got.push(payload);
                }
            }
            prop_assert_eq!(got, payloads);
            prop_assert!(!decoder.is_mid_frame());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
            let mut decoder = Decoder::default();
            decoder.feed(&bytes);
            while let Ok(Some(_)) = decoder.next_frame() {}
            prop_assert!(decoder.buffer.capacity() <= 8192);
        }
    }
}
