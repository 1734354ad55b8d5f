//! A client at a terminal: frames both ways over an upgraded connection.
//!
//! What it types is written as the program takes it; while it does not, that client is not read. What it is shown is
//! a cursor into the journal, so a slow client costs the others nothing; where it is the only one there can be, the
//! program waits for it. Neither way waits for the other: whoever does not read can still type Ctrl-C.

use super::entry::Entry;
use super::input::Taken;
use super::output::Output;
use crate::slots::Slot;
use bulkhead_protocol::frame::{Decoder, Frame, FrameType};
use bytes::Buf;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long the switch of protocols may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes read at once: more than anybody types, and little beside a frame.
const READ_BYTES: usize = 4096;
/// How long what was typed before the connection broke may take to be written.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a client from its upgrade until one side ends. The slot is its seat.
pub(crate) async fn attend(upgrade: OnUpgrade, entry: Rc<Entry>, output: Output, seat: Slot) {
    if let Ok(Ok(connection)) = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await {
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(connection));
        let typed = read_input(&mut reader, &entry);
        tokio::pin!(typed);
        let shown = tokio::select! {
            biased;
            () = &mut typed => None,
            shown = show(&mut writer, output) => Some(shown),
        };
        // Somebody may have typed, and hung up at once.
        if let Some(Err(_)) = shown {
            match tokio::time::timeout(LAST_WORDS, typed).await {
                Ok(()) | Err(_) => {}
            }
        }
    }
    drop(seat);
}

/// Comes back after the last frame.
async fn show(writer: &mut (impl AsyncWrite + Unpin), mut output: Output) -> std::io::Result<()> {
    while let Some(mut piece) = std::future::poll_fn(|cx| output.poll_next(cx)).await {
        // One write, so that its reader wakes once.
        let bytes = piece.copy_to_bytes(piece.remaining());
        writer.write_all(&bytes).await?;
        writer.flush().await?;
    }
    writer.shutdown().await
}

/// Comes back when the client hung up or broke the protocol, or the terminal takes nothing any more.
async fn read_input(reader: &mut (impl AsyncRead + Unpin), entry: &Entry) {
    let mut decoder = Decoder::default();
    let mut buffer = [0; READ_BYTES];
    while let Ok(count) = reader.read(&mut buffer).await {
        if count == 0 {
            return;
        }
        decoder.feed(&buffer[..count]);
        loop {
            match decoder.next_frame() {
                Ok(Some(Frame { kind: FrameType::KeepAlive | FrameType::Optional, .. })) => {}
                Ok(Some(frame)) if frame.kind == FrameType::Input => {
                    if entry.type_in(frame.payload).await == Taken::NoMore {
                        // Its end is shown; nothing is read any more.
                        return std::future::pending().await;
                    }
                }
                Ok(None) => break,
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
}
