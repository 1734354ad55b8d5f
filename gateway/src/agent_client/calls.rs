//! The calls of the protocol with one answer, and the beginnings of those with a stream of frames. The status
//! of every answer is made into one error: 404, 409 and 422 are answers, everything else is a fault.

use super::exchange::{Exchange, Order};
use super::frames::checked;
use super::{AgentClient, AgentError, FrameStream, Frames, json, within};
use crate::limits;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::agent::{
    EXECUTIONS_PATH, Executions, InputTaken, Killed, MAX_JSON, NAME_PATH, Name, SignalRequest, Started,
};
use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// The path of something that an execution has: `output`, `kill` and so on.
pub(crate) fn path(handle: u64, what: &str) -> String {
    format!("{EXECUTIONS_PATH}/{handle}/{what}")
}

/// A handle as an agent says it: none that a JSON reader could round.
pub(crate) fn handle(handle: u64) -> Result<u64, AgentError> {
    if (1..=limits::MAX_COUNT).contains(&handle) { Ok(handle) } else { Err(AgentError::Malformed("handle")) }
}

/// The JSON of an answer.
async fn answer<T: DeserializeOwned>(mut exchange: Exchange) -> Result<T, AgentError> {
    let body = within(limits::AGENT_UNARY, "answer", exchange.collect(MAX_JSON)).await?;
    serde_json::from_slice(&body).map_err(|_| AgentError::Malformed("json"))
}

impl AgentClient {
    /// Sends one request; an answer other than 200 is an error.
    async fn open(&self, id: &SandboxId, order: Order<'_>) -> Result<Exchange, AgentError> {
        self.open_or(id, order, AgentError::Refused).await
    }

    /// The same of a call whose refusals are of another type.
    async fn open_or<R: DeserializeOwned>(
        &self,
        id: &SandboxId,
        order: Order<'_>,
        refused: fn(R) -> AgentError,
    ) -> Result<Exchange, AgentError> {
        let mut exchange = Exchange::open(&self.agents, id, order).await?;
        match exchange.status {
            StatusCode::OK => Ok(exchange),
            StatusCode::NOT_FOUND => Err(AgentError::NotFound),
            StatusCode::CONFLICT => Err(AgentError::Conflict),
            StatusCode::UNPROCESSABLE_ENTITY => {
                let body = exchange.collect(limits::AGENT_JSON_FRAME);
                let body = within(limits::AGENT_UNARY, "reason of a refusal", body).await?;
                Err(refused(json(&body)?))
            }
            _ => Err(AgentError::Malformed("status")),
        }
    }

    async fn unary<T: DeserializeOwned>(&self, id: &SandboxId, order: Order<'_>) -> Result<T, AgentError> {
        answer(self.open(id, order).await?).await
    }

    /// `GET path`, whose answer is JSON of at most [`MAX_JSON`] bytes.
    pub(crate) async fn get<T: DeserializeOwned>(&self, id: &SandboxId, path: &str) -> Result<T, AgentError> {
        self.unary(id, Order::get(path)).await
    }

    /// `POST path` with JSON, whose answer is JSON of at most [`MAX_JSON`] bytes.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        id: &SandboxId,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, AgentError> {
        let body = serde_json::to_vec(body).map_err(|_| AgentError::Malformed("request"))?;
        self.post_bytes(id, path, Bytes::from(body)).await
    }

    /// `POST path` with these bytes, whose answer is JSON.
    pub(crate) async fn post_bytes<T: DeserializeOwned>(
        &self,
        id: &SandboxId,
        path: &str,
        body: Bytes,
    ) -> Result<T, AgentError> {
        self.unary(id, Order::post(path, body)).await
    }

    /// Starts an execution that goes on by itself; gives its handle.
    pub(crate) async fn start_detached(&self, id: &SandboxId, spec: Vec<u8>) -> Result<u64, AgentError> {
        let Started { handle: told } = self.post_bytes(id, EXECUTIONS_PATH, Bytes::from(spec)).await?;
        handle(told)
    }

    /// Starts an execution that ends with the stream.
    pub(crate) async fn start_attached(
        &self,
        id: &SandboxId,
        spec: Vec<u8>,
    ) -> Result<FrameStream, AgentError> {
        let exchange = self.open(id, Order::post(EXECUTIONS_PATH, spec)).await?;
        Ok(FrameStream::new(exchange, Frames::new()))
    }

    /// What an execution wrote behind the offset `from`, and what it goes on to write.
    pub(crate) async fn output(
        &self,
        id: &SandboxId,
        handle: u64,
        from: u64,
    ) -> Result<FrameStream, AgentError> {
        let path = format!("{}?from={from}", path(handle, "output"));
        let exchange = self.open(id, Order::get(&path)).await?;
        Ok(FrameStream::new(exchange, Frames::from(from)))
    }

    /// The end of an execution, when it comes.
    pub(crate) async fn end(&self, id: &SandboxId, handle: u64) -> Result<FrameStream, AgentError> {
        let exchange = self.open(id, Order::get(&path(handle, "end"))).await?;
        Ok(FrameStream::new(exchange, Frames::from(0)))
    }

    /// Kills an execution; nothing of it lives when this returns.
    pub(crate) async fn kill(&self, id: &SandboxId, handle: u64) -> Result<Killed, AgentError> {
        let path = path(handle, "kill");
        self.unary(id, Order { patience: limits::AGENT_KILL, ..Order::post(&path, Bytes::new()) }).await
    }

    /// Sends a signal to every process of an execution.
    pub(crate) async fn signal(&self, id: &SandboxId, handle: u64, signal: u8) -> Result<(), AgentError> {
        let body = serde_json::to_vec(&SignalRequest { signal });
        let body = body.map_err(|_| AgentError::Malformed("request"))?;
        let order = path(handle, "signal");
        let exchange = self.open_or(id, Order::post(&order, body), AgentError::Undelivered).await?;
        let IgnoredAny = answer(exchange).await?;
        Ok(())
    }

    /// Gives an execution input; `query` is empty or `?close`.
    pub(crate) async fn stdin(
        &self,
        id: &SandboxId,
        handle: u64,
        query: &str,
        bytes: Bytes,
    ) -> Result<InputTaken, AgentError> {
        let path = format!("{}{query}", path(handle, "stdin"));
        self.unary(id, Order { patience: limits::AGENT_INPUT, ..Order::post(&path, bytes) }).await
    }

    /// Tells the agent of a sandbox that was made ahead the name that it has got.
    pub(crate) async fn name(&self, id: &SandboxId, hostname: String) -> Result<(), AgentError> {
        let IgnoredAny = self.post(id, NAME_PATH, &Name { hostname }).await?;
        Ok(())
    }

    /// Executions that run or ended lately.
    pub(crate) async fn executions(&self, id: &SandboxId) -> Result<Executions, AgentError> {
        let mut list: Executions = self.get(id, EXECUTIONS_PATH).await?;
        for status in &mut list.executions {
            status.handle = handle(status.handle)?;
            status.started_ms = status.started_ms.min(limits::MAX_COUNT);
            status.offset = status.offset.min(limits::MAX_COUNT);
            status.ended = status.ended.take().map(checked).transpose()?;
        }
        Ok(list)
    }
}
