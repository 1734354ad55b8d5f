//! Watches: what happens to files, from the worker to one WebSocket. Between its start and its client a watch is kept
//! here, unread: the worker queues, and says so when its queue was too short.
//!
//! ```text
//!  start ──▶ kept ──take──▶ Sight ──client, path or sandbox gone──▶ over
//!              └──a minute, sandbox or key gone──▶ over
//! ```

use super::{Feed, open};
use crate::agent_client::{Lines, Listen, Piece, Seen, event};
use crate::api::FileChange;
use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::limits;
use crate::quota::Held;
use crate::registry::Visit;
use crate::ws::{Client, Farewell, Said};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::files::{FileOperation, MAX_WATCHES};
use hyper::StatusCode;
use std::collections::HashMap;
use std::future::ready;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

/// A watch that collects.
#[derive(Debug)]
pub(crate) struct Watch {
    feed: Box<Feed>,
    _permit: OwnedSemaphorePermit,
    /// Of the organisation's quota, until its client has its own.
    _held: Option<Arc<Vec<Held>>>,
}

impl Watch {
    /// Starts a worker that collects.
    pub(crate) async fn start(
        app: &Arc<App>,
        visit: Visit,
        operation: FileOperation,
        held: Arc<Vec<Held>>,
    ) -> ApiResult<Self> {
        let permit = visit.watch().ok_or_else(|| {
            let text = format!("{MAX_WATCHES} watches of this sandbox are open");
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).of_limit("watches")
        })?;
        let (feed, _) = open(app, visit, operation).await?;
        Ok(Self { feed, _permit: permit, _held: Some(held) })
    }
}

/// A watch that waits for its client.
#[derive(Debug)]
struct Waiting {
    sandbox: SandboxId,
    watch: Watch,
    /// Dropped, it ends the task that would end the watch.
    _taken: oneshot::Sender<()>,
}

/// Watches without a client, by id. Each sandbox has few.
#[derive(Debug, Default)]
pub(crate) struct Watches(Mutex<HashMap<String, Waiting>>);

impl Watches {
    /// Takes the watch `id` of a sandbox out.
    pub(crate) fn take(&self, sandbox: &SandboxId, id: &str) -> Option<Watch> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.get(id)?.sandbox != *sandbox {
            return None;
        }
        all.remove(id).map(|waiting| Watch { _held: None, ..waiting.watch })
    }
}

/// Keeps a watch for its client; gives the id by which it is taken.
pub(crate) fn keep(app: &Arc<App>, watch: Watch, principal: Principal) -> ApiResult<String> {
    let id = uuid(ids::random()?);
    let sandbox = watch.feed.sandbox().clone();
    let over = watch.feed.over();
    let (taken, gone) = oneshot::channel();
    let waiting = Waiting { sandbox: sandbox.clone(), watch, _taken: taken };
    app.watches.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone(), waiting);
    let (app, kept) = (Arc::clone(app), id.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = sleep(limits::WATCH_PATIENCE) => {}
            _ = over => {}
            () = principal.ended() => {}
            // An error: whoever took it dropped the other end.
            _ = gone => return,
        }
        drop(app.watches.take(&sandbox, &kept));
    });
    Ok(id)
}

/// A random UUID (RFC 9562, version 4): one SDK refuses any other id.
fn uuid(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A client and its watch.
#[derive(Debug)]
pub(crate) struct Sight<S> {
    client: Client<S>,
    watch: Watch,
    lines: Lines,
    /// When the client was last heard of.
    alive: Instant,
    /// When it gets the next ping.
    ping: Instant,
    /// What was watched is gone.
    over: bool,
}

/// What a round waited for.
enum Event {
    Client(Said),
    Piece(ApiResult<Piece>),
    Time,
    End(Farewell),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sight<S> {
    pub(crate) fn new(client: Client<S>, watch: Watch) -> Self {
        let now = Instant::now();
        let ping = now + limits::SOCKET_PING;
        Self { client, watch, lines: Lines::default(), alive: now, ping, over: false }
    }

    /// Serves the client until one of the two ends, or `end` says that it is over.
    pub(crate) async fn run(mut self, end: impl Future<Output = Farewell>) {
        let farewell = self.rounds(end).await;
        // The worker ends with its client, not with the client's last word.
        drop(self.watch);
        self.client.close(farewell).await;
    }

    /// Why it is over; nothing where the client left.
    async fn rounds(&mut self, end: impl Future<Output = Farewell>) -> Option<Farewell> {
        let mut gone = pin!(self.watch.feed.over());
        let mut ends = pin!(end);
        loop {
            if let Err(farewell) = self.send() {
                return Some(farewell);
            }
            let listens = self.client.sending().is_none() && !self.over;
            let deadline = self.deadline();
            let event = tokio::select! {
                // The end of the sandbox is also that of the worker, and says more.
                biased;
                farewell = &mut ends => Event::End(farewell),
                _ = &mut gone => Event::End(Farewell::PARTED),
                said = self.client.event(Listen::Yes) => Event::Client(said),
                piece = self.watch.feed.piece(), if listens => Event::Piece(piece),
                () = sleep_until(deadline) => Event::Time,
            };
            if let Event::Piece(Err(_)) = event {
                // The end of the sandbox may have come between the two waits above.
                return Some(tokio::select! {
                    biased;
                    _ = &mut gone => Farewell::PARTED,
                    () = ready(()) => Farewell::FAULT,
                });
            }
            match self.take(event) {
                Ok(()) => {}
                Err(farewell) => return farewell,
            }
        }
    }

    /// Gives the client its next message, if the last is out.
    fn send(&mut self) -> Result<(), Farewell> {
        if self.client.sending().is_some() {
            return Ok(());
        }
        if Instant::now() >= self.ping {
            self.ping = Instant::now() + limits::SOCKET_PING;
            return self.client.ping();
        }
        match self.next_note() {
            Err(error) => {
                tracing::debug!(status = error.status.as_u16(), "a watch broke off");
                Err(Farewell::FAULT)
            }
            Ok(Some(note)) => self.client.note(note),
            Ok(None) if self.over => Err(Farewell::UNWATCHED),
            Ok(None) => Ok(()),
        }
    }

    /// The next event that is here, as the client gets it.
    fn next_note(&mut self) -> ApiResult<Option<String>> {
        let event = self.lines.next().and_then(|line| line.map(event).transpose());
        let event = event.map_err(|error| self.watch.feed.fault(error))?;
        let Some(Seen { event, path, old_path }) = event else { return Ok(None) };
        let note = serde_json::to_string(&FileChange::new(&event, &path, old_path.as_deref()));
        note.map(Some).map_err(ApiError::internal)
    }

    /// The next moment at which something has to be done.
    fn deadline(&self) -> Instant {
        let silent = self.alive + limits::SOCKET_SILENCE;
        match self.client.sending() {
            Some(since) => silent.min(since + limits::SOCKET_STALL),
            None => silent.min(self.ping),
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Option<Farewell>> {
        match event {
            // It has nothing to say, whatever it says.
            Event::Client(Said::Input(_) | Said::Alive) => self.alive = Instant::now(),
            Event::Client(Said::Sent) => {}
            Event::Client(Said::Left) => return Err(None),
            Event::Client(Said::Wrong(farewell)) | Event::End(farewell) => return Err(Some(farewell)),
            Event::Piece(Ok(Piece::Content(bytes))) => self.lines.push(&bytes),
            Event::Piece(Ok(Piece::Done(_))) => self.over = true,
            Event::Piece(Err(_)) => return Err(Some(Farewell::FAULT)),
            Event::Time => return self.take_time().map_err(Some),
        }
        Ok(())
    }

    fn take_time(&mut self) -> Result<(), Farewell> {
        let now = Instant::now();
        if self.client.sending().is_some_and(|since| now >= since + limits::SOCKET_STALL) {
            return Err(Farewell::SLOW);
        }
        if now >= self.alive + limits::SOCKET_SILENCE {
            return Err(Farewell::SILENT);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn an_id_is_a_random_uuid() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
