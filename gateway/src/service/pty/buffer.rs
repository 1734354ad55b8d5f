//! The output that a session's agent still has, as text.

use super::{ask, find};
use crate::agent_client::{AgentError, Collected, FrameStream, Item};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::registry::Visit;
use crate::service::exec::place;
use hyper::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Buffers that are being read or sent.
static READERS: Semaphore = Semaphore::const_new(limits::BUFFER_READERS);

/// A buffer, and its place among those in memory.
#[derive(Debug)]
pub(crate) struct Buffer {
    pub(crate) text: String,
    pub(crate) place: SemaphorePermit<'static>,
}

/// What the session `id` has written up to now.
pub(crate) async fn read(app: &App, sandbox: &Visit, id: &str) -> ApiResult<Buffer> {
    let session = find(app, sandbox, id).await?;
    let busy = |_| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many buffers are being read");
    let reader = READERS.try_acquire().map_err(busy)?;
    let _place = place(sandbox)?;
    let from = session.offset.saturating_sub(limits::TERMINAL_BUFFER);
    let read = async {
        let mut stream = app.agents.output(&sandbox.facts.id, session.handle, from).await?;
        collect(&mut stream, Collected::new(&app.output), session.offset).await
    };
    let late = |_| Err(AgentError::Late("buffer"));
    let read = async { tokio::time::timeout(limits::AGENT_UNARY, read).await.unwrap_or_else(late) };
    let bytes = ask(app, sandbox, read).await?;
    Ok(Buffer { text: String::from_utf8_lossy(&bytes).into_owned(), place: reader })
}

/// Reads up to the offset `to`: what is written meanwhile would never end.
async fn collect(stream: &mut FrameStream, mut kept: Collected, to: u64) -> Result<Vec<u8>, AgentError> {
    while stream.frames.offset() < to {
        match stream.frames.next()? {
            Some(Item::Output(_, bytes)) => kept.stdout.push(bytes),
            Some(Item::Ended(_)) => break,
            Some(Item::KeepAlive | Item::Started(_) | Item::Gap(_)) => {}
            None => stream.more().await?,
        }
    }
    Ok(kept.stdout.into_parts().0)
}
