//! The gateway's side of an agent. The agent is the sandbox's own and may be hostile: every wait has a
//! deadline, every length a bound, every value is parsed and rebuilt.
//!
//! Must never put a byte of an agent into a header, a status line or a log, and never send it a descriptor.

mod exchange;
mod output;
#[cfg(test)]
mod tests;

pub(crate) use output::{Budget, Collected, Output};

use crate::dirs::Directory;
use crate::limits;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::agent::{
    AGENT_PROTOCOL, EXECUTIONS_PATH, End, Ended, Gap, HELLO_PATH, Hello, StartFailure, Started,
};
use bulkhead_protocol::frame::{Decoder, Frame, FrameType};
use exchange::Exchange;
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::time::Instant;

/// What an agent did not do as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    #[error("connect to the agent")]
    Unreachable(#[source] std::io::Error),
    #[error("the agent was late: {0}")]
    Late(&'static str),
    #[error("the agent broke the protocol: {0}")]
    Malformed(&'static str),
    #[error("the agent closed the connection early")]
    Closed,
    /// The program never ran: an answer, not a fault.
    #[error("the program never ran: {0:?}")]
    Refused(StartFailure),
    #[error("the answer came from an agent of another protocol")]
    Stranger,
}

/// Speaks to agents.
#[derive(Debug)]
pub(crate) struct AgentClient {
    agents: Directory,
}

impl AgentClient {
    pub(crate) fn new(agents: Directory) -> Self {
        Self { agents }
    }

    /// Proves that the socket of `id` is held by an agent of our version.
    pub(crate) async fn hello(&self, id: &SandboxId, nonce: String) -> Result<(), AgentError> {
        let hello = Hello { protocol: AGENT_PROTOCOL, nonce };
        let body = serde_json::to_vec(&hello).map_err(|_| AgentError::Malformed("hello"))?;
        let exchange = Exchange::post(&self.agents, id, HELLO_PATH, body);
        let mut exchange = within(limits::AGENT_HELLO, "hello", exchange).await?;
        let answer = within(limits::AGENT_HELLO, "hello", exchange.collect(limits::AGENT_JSON_FRAME)).await?;
        if exchange.status != StatusCode::OK {
            return Err(AgentError::Malformed("status of hello"));
        }
        if json::<Hello>(&answer)? == hello { Ok(()) } else { Err(AgentError::Stranger) }
    }

    /// Runs one program and collects what it writes into `collected`, which keeps it also when this fails or
    /// is dropped. Dropping it ends the program.
    pub(crate) async fn execute(
        &self,
        id: &SandboxId,
        spec: Vec<u8>,
        collected: &mut Collected,
    ) -> Result<Ended, AgentError> {
        let mut exchange = Exchange::post(&self.agents, id, EXECUTIONS_PATH, spec).await?;
        match exchange.status {
            StatusCode::OK => {}
            StatusCode::UNPROCESSABLE_ENTITY => {
                let body = exchange.collect(limits::AGENT_JSON_FRAME);
                let body = within(limits::AGENT_UNARY, "reason of a refusal", body).await?;
                return Err(AgentError::Refused(json(&body)?));
            }
            _ => return Err(AgentError::Malformed("status of an execution")),
        }
        let mut reader = Reader { decoder: Decoder::default(), collected, empty: 0, since: Instant::now() };
        loop {
            let chunk = within(limits::AGENT_SILENCE, "silence", exchange.chunk()).await?;
            let Some(chunk) = chunk else { return Err(AgentError::Closed) };
            reader.decoder.feed(&chunk);
            if let Some(ended) = reader.drain()? {
                return Ok(ended);
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    what: &'static str,
    work: impl Future<Output = Result<T, AgentError>>,
) -> Result<T, AgentError> {
    tokio::time::timeout(limit, work).await.unwrap_or(Err(AgentError::Late(what)))
}

fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AgentError> {
    if bytes.len() > limits::AGENT_JSON_FRAME {
        return Err(AgentError::Malformed("long json"));
    }
    serde_json::from_slice(bytes).map_err(|_| AgentError::Malformed("json"))
}

/// Holds the order of frames: started, output, ended, nothing.
struct Reader<'a> {
    decoder: Decoder,
    collected: &'a mut Collected,
    empty: u64,
    since: Instant,
}

impl Reader<'_> {
    /// Takes the frames that are there.
    fn drain(&mut self) -> Result<Option<Ended>, AgentError> {
        loop {
            let frame = self.decoder.next_frame().map_err(|_| AgentError::Malformed("frame"))?;
            let Some(Frame { kind, payload }) = frame else { return Ok(None) };
            if payload.is_empty() {
                self.empty += 1;
                if self.empty > limits::EMPTY_FRAMES + self.since.elapsed().as_secs() {
                    return Err(AgentError::Malformed("too many empty frames"));
                }
            }
            match (kind, self.collected.started) {
                (FrameType::KeepAlive, _) if payload.is_empty() => {}
                (FrameType::Started, false) => {
                    let Started { .. } = json(payload)?;
                    self.collected.started = true;
                }
                (FrameType::Stdout, true) => self.collected.stdout.push(payload),
                (FrameType::Stderr, true) => self.collected.stderr.push(payload),
                (FrameType::Gap, true) => self.collected.gap(json::<Gap>(payload)?)?,
                (FrameType::Ended, true) => {
                    let ended = checked(json(payload)?)?;
                    return if self.decoder.is_mid_frame() {
                        Err(AgentError::Malformed("bytes after the end"))
                    } else {
                        Ok(Some(ended))
                    };
                }
                (FrameType::KeepAlive | FrameType::Started | FrameType::Input, _)
                | (FrameType::Stdout | FrameType::Stderr | FrameType::Gap | FrameType::Ended, false) => {
                    return Err(AgentError::Malformed("order of frames"));
                }
            }
        }
    }
}

/// Numbers that cannot be are an error, numbers that are only huge are cut.
fn checked(mut ended: Ended) -> Result<Ended, AgentError> {
    if let End::Signaled { signal } = ended.end
        && !(1..=64).contains(&signal)
    {
        return Err(AgentError::Malformed("signal"));
    }
    let usage = &mut ended.usage;
    usage.wall_ms = usage.wall_ms.min(limits::MAX_COUNT);
    usage.cpu_ms = usage.cpu_ms.map(|ms| ms.min(limits::MAX_COUNT));
    usage.peak_memory_bytes = usage.peak_memory_bytes.map(|bytes| bytes.min(limits::MAX_COUNT));
    Ok(ended)
}
