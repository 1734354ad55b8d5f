//! The gateway's side of an agent. The agent is the sandbox's own and may be hostile: every wait has a
//! deadline, every length a bound, every value is parsed and rebuilt.
//!
//! Must never put a byte of an agent into a header, a status line or a log, and never send it a descriptor.

mod calls;
mod dial;
mod exchange;
mod files;
mod frames;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod output;
mod stream;
mod terminal;
#[cfg(test)]
mod tests;
mod upgrade;

use calls::handle;
pub(crate) use calls::path;
pub(crate) use files::{Lines, Link, Opened, Piece, Seen, entry, event};
pub(crate) use frames::{Frames, Item, Source};
pub(crate) use output::{Budget, Collected, Output};
pub(crate) use stream::FrameStream;
pub(crate) use terminal::{Heard, Listen, Owner, Terminal};

use crate::dirs::Directory;
use crate::limits;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::agent::{
    AGENT_PROTOCOL, Ended, HELLO_PATH, Hello, HelloReply, MAX_RELEASE, OLDEST_AGENT_PROTOCOL, SignalFailure,
    StartFailure,
};
use exchange::{Exchange, Order};
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use std::time::Duration;

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
    /// A signal did not arrive everywhere: an answer, not a fault.
    #[error("the signal was not delivered: {0:?}")]
    Undelivered(SignalFailure),
    /// The handle names nothing: an answer, not a fault.
    #[error("the agent knows no such execution")]
    NotFound,
    /// The execution cannot do this: an answer, not a fault.
    #[error("the execution cannot do this")]
    Conflict,
    #[error("the answer came from somebody else")]
    Stranger,
    /// What it says would not be understood.
    #[error("the agent speaks protocol {0}, which is not one of {OLDEST_AGENT_PROTOCOL} to {AGENT_PROTOCOL}")]
    Version(u32),
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

    /// Proves that the socket of `id` is held by an agent of a version that we speak.
    pub(crate) async fn hello(&self, id: &SandboxId, nonce: String) -> Result<(), AgentError> {
        let hello = Hello { protocol: AGENT_PROTOCOL, nonce };
        let body = serde_json::to_vec(&hello).map_err(|_| AgentError::Malformed("hello"))?;
        let exchange = Exchange::open(&self.agents, id, Order::post(HELLO_PATH, body));
        let mut exchange = within(limits::AGENT_HELLO, "hello", exchange).await?;
        let answer = within(limits::AGENT_HELLO, "hello", exchange.collect(limits::AGENT_JSON_FRAME)).await?;
        if exchange.status != StatusCode::OK {
            return Err(AgentError::Malformed("status of hello"));
        }
        let HelloReply { protocol, nonce, release } = json(&answer)?;
        if nonce != hello.nonce {
            return Err(AgentError::Stranger);
        }
        let release = release.filter(|release| release.len() <= MAX_RELEASE);
        tracing::debug!(sandbox = %id, protocol, release, "an agent said hello");
        let known = (OLDEST_AGENT_PROTOCOL..=AGENT_PROTOCOL).contains(&protocol);
        if known { Ok(()) } else { Err(AgentError::Version(protocol)) }
    }

    /// Runs one program and collects what it writes into `collected`, which keeps it also when this fails or
    /// is dropped. Dropping it ends the program. While `excused` says so, silence is no fault.
    pub(crate) async fn execute(
        &self,
        id: &SandboxId,
        spec: Vec<u8>,
        collected: &mut Collected,
        excused: impl Fn() -> bool,
    ) -> Result<Ended, AgentError> {
        let mut stream = self.start_attached(id, spec).await?;
        loop {
            match stream.more().await {
                Err(AgentError::Late(_)) if excused() => stream.forgive(),
                more => more?,
            }
            if let Some(ended) = collected.take(&mut stream.frames)? {
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

/// A small JSON text, as every frame of JSON is.
fn json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, AgentError> {
    if bytes.len() > limits::AGENT_JSON_FRAME {
        return Err(AgentError::Malformed("long json"));
    }
    serde_json::from_slice(bytes).map_err(|_| AgentError::Malformed("json"))
}
