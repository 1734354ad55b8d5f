//! Bodies of answers: one JSON text, or the frames of an execution's output.

use crate::execution::Output;
use bulkhead_protocol::frame::{self, FrameType, HEADER_LEN};
use bytes::Bytes;
use bytes::buf::{Buf, Chain};
use hyper::body::{Frame, SizeHint};
use std::convert::Infallible;
use std::io::Cursor;
use std::pin::Pin;
use std::task::{Context, Poll};

/// One piece of a body: a frame's header and its payload, which is not copied to stand behind it.
pub(crate) type Piece = Chain<Cursor<[u8; HEADER_LEN]>, Bytes>;

/// A frame.
pub(crate) fn framed(kind: FrameType, payload: Bytes) -> Piece {
    Cursor::new(frame::header(kind, payload.len())).chain(payload)
}

/// Bytes without a frame: the header is there and already read.
fn bare(bytes: Bytes) -> Piece {
    let mut header = Cursor::new([0; HEADER_LEN]);
    header.advance(HEADER_LEN);
    header.chain(bytes)
}

/// A body.
#[derive(Debug)]
pub(crate) enum Body {
    /// Known as a whole; `None` once it was handed out.
    Whole(Option<Bytes>),
    /// Comes as the execution produces it; dropped before its end, it kills an execution that it holds.
    Output(Output),
}

impl Body {
    /// A body of these bytes.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Whole(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl hyper::body::Body for Body {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        let piece = match self.get_mut() {
            Body::Whole(bytes) => bytes.take().map(bare),
            Body::Output(output) => std::task::ready!(output.poll_next(cx)),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Output(output) => output.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => SizeHint::with_exact(
                bytes.as_ref().map_or(0, |bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            ),
            Body::Output(_) => SizeHint::default(),
        }
    }
}
