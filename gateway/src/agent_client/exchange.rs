//! One HTTP exchange with an agent over a connection of its own. The connection is driven by whoever reads
//! the body, in the same task: no other task has to be woken, and dropping the exchange closes the
//! connection.

use super::dial::connect;
use super::{AgentError, within};
use crate::dirs::Directory;
use crate::limits;
use bulkhead_protocol::SandboxId;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::net::UnixStream;

type Wire = Connection<TokioIo<UnixStream>, Full<Bytes>>;

/// One request to an agent.
#[derive(Debug)]
pub(super) struct Order<'a> {
    pub(super) method: Method,
    /// Path and query.
    pub(super) path: &'a str,
    pub(super) body: Bytes,
    /// How long the head of the answer may take.
    pub(super) patience: Duration,
}

impl<'a> Order<'a> {
    pub(super) fn get(path: &'a str) -> Self {
        Self { method: Method::GET, path, body: Bytes::new(), patience: limits::AGENT_FIRST_BYTE }
    }

    pub(super) fn post(path: &'a str, body: impl Into<Bytes>) -> Self {
        Self { method: Method::POST, path, body: body.into(), patience: limits::AGENT_FIRST_BYTE }
    }
}

/// An answer whose head has come.
pub(super) struct Exchange {
    pub(super) status: StatusCode,
    body: Incoming,
    wire: Driver,
}

/// Polls the connection until it ends, and not after.
struct Driver(Option<Wire>);

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(wire) = &mut self.0
            && let Poll::Ready(end) = Pin::new(wire).poll(cx)
        {
            if let Err(error) = end {
                tracing::debug!(%error, "the connection to an agent ended");
            }
            self.0 = None;
        }
    }
}

impl Exchange {
    /// Sends a request and waits for the head of the answer.
    pub(super) async fn open(
        agents: &Directory,
        id: &SandboxId,
        order: Order<'_>,
    ) -> Result<Self, AgentError> {
        let stream = within(limits::AGENT_CONNECT, "connect", connect(agents, id)).await?;
        within(order.patience, "first byte", Self::send(stream, order)).await
    }

    async fn send(stream: UnixStream, order: Order<'_>) -> Result<Self, AgentError> {
        let (mut sender, wire) = Builder::new()
            .max_headers(limits::AGENT_HEADERS)
            .max_header_size(limits::AGENT_HEADER_BYTES)
            .max_buf_size(limits::AGENT_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| AgentError::Closed)?;
        let request = Request::builder()
            .method(order.method)
            .uri(order.path)
            .header(header::HOST, "agent")
            .header(header::CONNECTION, "close")
            .body(Full::new(order.body))
            .map_err(|_| AgentError::Malformed("request"))?;
        let mut wire = Driver(Some(wire));
        let mut answer = Box::pin(sender.send_request(request));
        let answer: Response<Incoming> = poll_fn(|cx| {
            wire.poll(cx);
            answer.as_mut().poll(cx)
        })
        .await
        .map_err(|error| fault(&error))?;
        Ok(Self { status: answer.status(), body: answer.into_body(), wire })
    }

    /// The next bytes of the body; `None` at its end.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, AgentError>> {
        self.wire.poll(cx);
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(Ok(None));
            };
            let frame = frame.map_err(|error| fault(&error))?;
            // Trailers are not part of the protocol and are dropped.
            if let Ok(data) = frame.into_data() {
                return Poll::Ready(Ok(Some(data)));
            }
        }
    }

    /// [`Self::poll_chunk`] as a future. Cancel-safe.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, AgentError> {
        poll_fn(|cx| self.poll_chunk(cx)).await
    }

    /// A whole body of at most `most` bytes.
    pub(super) async fn collect(&mut self, most: usize) -> Result<Vec<u8>, AgentError> {
        let mut all = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if all.len() + chunk.len() > most {
                return Err(AgentError::Malformed("long answer"));
            }
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }
}

/// A broken message is malice or a bug; a broken connection is what every death looks like.
pub(super) fn fault(error: &hyper::Error) -> AgentError {
    if error.is_parse() || error.is_parse_too_large() {
        AgentError::Malformed("http")
    } else {
        AgentError::Closed
    }
}
