//! The body of a stream of what happens in an organisation. It makes the next piece when the client has taken the last.

use super::events::event_stream;
use super::{Reply, ReplyBody};
use crate::metrics::Open;
use crate::news::Reader;
use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Events of one organisation, without an end.
pub(crate) struct Told {
    pieces: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    _open: Open,
}

/// An answer of them.
pub(crate) fn news(reader: Reader, open: Open) -> Reply {
    let pieces = unfold(reader, |mut reader| async move { Some((reader.next().await, reader)) });
    event_stream(ReplyBody::News(Box::new(Told { pieces: Box::pin(pieces), _open: open })))
}

impl Told {
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.pieces.as_mut().poll_next(cx)
    }
}
