//! A connection to an agent that becomes one of frames.

use super::AgentError;
use super::exchange::fault;
use crate::limits;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection};
use hyper::http::request;
use hyper::{StatusCode, header};
use hyper_util::rt::TokioIo;
use std::future::poll_fn;
use std::task::Poll;
use tokio::net::UnixStream;

/// What frames run over after the upgrade.
const PROTOCOL: &str = "bulkhead-frames";

/// What an agent made of it.
#[derive(Debug)]
pub(super) enum Upgraded {
    /// The connection, and what came behind the head.
    Yes(UnixStream, Bytes),
    /// Another status, and its body.
    No(StatusCode, Bytes),
}

/// Drives the connection beside `work`, which needs it.
async fn beside<T>(
    wire: &mut Connection<TokioIo<UnixStream>, Full<Bytes>>,
    wire_end: &mut Option<hyper::Result<()>>,
    work: impl Future<Output = T>,
) -> T {
    let mut work = Box::pin(work);
    poll_fn(|cx| {
        if wire_end.is_none()
            && let Poll::Ready(end) = wire.poll_without_shutdown(cx)
        {
            *wire_end = Some(end);
        }
        work.as_mut().poll(cx)
    })
    .await
}

/// Sends a request that asks for frames.
pub(super) async fn upgrade(
    stream: UnixStream,
    request: request::Builder,
    body: Bytes,
) -> Result<Upgraded, AgentError> {
    let (mut sender, mut wire) = Builder::new()
        .max_headers(limits::AGENT_HEADERS)
        .max_header_size(limits::AGENT_HEADER_BYTES)
        .max_buf_size(limits::AGENT_BUFFER)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| AgentError::Closed)?;
    let request = request
        .header(header::HOST, "agent")
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, PROTOCOL)
        .body(Full::new(body))
        .map_err(|_| AgentError::Malformed("request"))?;
    let mut wire_end = None;
    let answer = beside(&mut wire, &mut wire_end, sender.send_request(request)).await;
    let answer = answer.map_err(|error| fault(&error))?;
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let body = beside(&mut wire, &mut wire_end, collect(answer.into_body())).await?;
        return Ok(Upgraded::No(status, body));
    }
    if answer.headers().get(header::UPGRADE).is_none_or(|value| value != PROTOCOL) {
        return Err(AgentError::Malformed("protocol of an upgrade"));
    }
    match wire_end {
        Some(end) => end,
        None => poll_fn(|cx| wire.poll_without_shutdown(cx)).await,
    }
    .map_err(|error| fault(&error))?;
    let parts = wire.into_parts();
    Ok(Upgraded::Yes(parts.io.into_inner(), parts.read_buf))
}

async fn collect(body: Incoming) -> Result<Bytes, AgentError> {
    let body = Limited::new(body, limits::AGENT_JSON_FRAME).collect().await;
    body.map(|body| body.to_bytes()).map_err(|_| AgentError::Malformed("body of a refusal"))
}
