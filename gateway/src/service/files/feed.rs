//! What a worker says, held by whoever reads it. Nothing is read ahead of the reader: a slow client slows the worker.
//! Dropping it ends the worker.

use crate::agent_client::{AgentError, Link, Piece};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::metrics::Open;
use crate::registry::{Departure, Visit};
use crate::service::exec::{departure, explain, fault};
use crate::service::live::reach;
use bulkhead_protocol::SandboxId;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::sync::OwnedSemaphorePermit;

type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// An answer that cannot be completed: its connection is closed, which tells the client.
#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
pub(crate) struct Broken;

/// An operation that goes on.
pub(crate) struct Feed {
    app: Arc<App>,
    visit: Arc<Visit>,
    link: Link,
    over: Later<Departure>,
    /// Runs once the worker broke off or broke the protocol.
    explaining: Option<Later<()>>,
    _place: OwnedSemaphorePermit,
    _open: Open,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").field("link", &self.link).finish_non_exhaustive()
    }
}

impl Feed {
    pub(super) fn new(app: Arc<App>, visit: Visit, link: Link, place: OwnedSemaphorePermit) -> Self {
        let (over, open) = (Box::pin(visit.over()), app.metrics.stream());
        Self { app, visit: Arc::new(visit), link, over, explaining: None, _place: place, _open: open }
    }

    /// What comes next, for an answer whose head is out.
    pub(crate) fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Broken>> {
        if self.explaining.is_none() {
            if self.over.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Broken));
            }
            match ready!(self.link.poll_piece(cx)) {
                Ok(piece) => return Poll::Ready(Ok(piece)),
                Err(AgentError::Late(_)) if self.visit.excuses_silence() => {
                    self.link.forgive();
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(error) => self.broke(error),
            }
        }
        let Some(explaining) = &mut self.explaining else { return Poll::Pending };
        explaining.as_mut().poll(cx).map(|()| Err(Broken))
    }

    /// The worker is at fault; the reason comes from [`Self::poll_piece`].
    pub(crate) fn broke(&mut self, error: AgentError) {
        let (app, visit) = (Arc::clone(&self.app), Arc::clone(&self.visit));
        self.explaining = Some(Box::pin(async move {
            if departure(&visit, &error).await.is_none() {
                fault(&app, &visit, &error);
            }
        }));
    }

    /// What comes next, for an answer that has not begun. Cancel-safe.
    pub(crate) async fn piece(&mut self) -> ApiResult<Piece> {
        let Self { app, visit, link, .. } = self;
        let call = async {
            loop {
                match link.piece().await {
                    Err(AgentError::Late(_)) if visit.excuses_silence() => link.forgive(),
                    piece => return piece,
                }
            }
        };
        reach(app, visit, call).await
    }

    /// Gives the worker content.
    pub(super) async fn send(&mut self, content: &[u8]) -> ApiResult<()> {
        reach(&self.app, &self.visit, self.link.send(content)).await
    }

    /// Says that the content is complete.
    pub(super) async fn end(&mut self) -> ApiResult<()> {
        reach(&self.app, &self.visit, self.link.end()).await
    }

    /// A fault of the worker, as the client learns it.
    pub(crate) fn malformed(&self, what: &'static str) -> ApiError {
        self.fault(AgentError::Malformed(what))
    }

    /// The same, of an error that was found elsewhere.
    pub(super) fn fault(&self, error: AgentError) -> ApiError {
        explain(&self.app, &self.visit, error)
    }

    /// Whose files these are.
    pub(super) fn sandbox(&self) -> &SandboxId {
        &self.visit.facts.id
    }

    /// Waits until the launch of the sandbox is over.
    pub(super) fn over(&self) -> impl Future<Output = Departure> + Send + 'static {
        self.visit.over()
    }
}
