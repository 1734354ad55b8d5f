//! One HTTP exchange with an agent over a connection of its own. The connection is driven by whoever reads
//! the body, in the same task: no other task has to be woken, and dropping the exchange closes the
//! connection.

use super::{AgentError, within};
use crate::dirs::Directory;
use crate::limits;
use bulkhead_protocol::SandboxId;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{Builder, Connection};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::net::UnixStream;

type Wire = Connection<TokioIo<UnixStream>, Full<Bytes>>;

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

/// Connects; a full backlog is tried again until the time is up.
async fn connect(agents: &Directory, id: &SandboxId) -> Result<UnixStream, AgentError> {
    let path = agents.entry(&format!("{id}.sock"));
    loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(limits::AGENT_CONNECT_PAUSE).await;
            }
            Err(error) => return Err(AgentError::Unreachable(error)),
        }
    }
}

impl Exchange {
    /// Sends a JSON body and waits for the head of the answer.
    pub(super) async fn post(
        agents: &Directory,
        id: &SandboxId,
        path: &'static str,
        body: Vec<u8>,
    ) -> Result<Self, AgentError> {
        let stream = within(limits::AGENT_CONNECT, "connect", connect(agents, id)).await?;
        within(limits::AGENT_FIRST_BYTE, "first byte", Self::send(stream, path, body)).await
    }

    async fn send(stream: UnixStream, path: &'static str, body: Vec<u8>) -> Result<Self, AgentError> {
        let (mut sender, wire) = Builder::new()
            .max_headers(limits::AGENT_HEADERS)
            .max_header_size(limits::AGENT_HEADER_BYTES)
            .max_buf_size(limits::AGENT_BUFFER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|_| AgentError::Closed)?;
        let request = Request::post(path)
            .header(header::HOST, "agent")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
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

    /// The next bytes of the body; `None` at its end. Cancel-safe.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, AgentError> {
        poll_fn(|cx| {
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
        })
        .await
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
fn fault(error: &hyper::Error) -> AgentError {
    if error.is_parse() || error.is_parse_too_large() {
        AgentError::Malformed("http")
    } else {
        AgentError::Closed
    }
}
