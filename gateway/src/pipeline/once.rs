//! `Idempotency-Key` on every mutating route that has no memory of its own: the first answer is kept for a day and
//! given again, to the same request. Create keeps its own in the rows of sandboxes, exec and commands theirs in the
//! agent; what streams has none.
//!
//! The work is a task of its own: a client that goes away finds its answer later.

use crate::app::App;
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult, chain};
use crate::input::{self, RequestBody};
use crate::limits;
use crate::reply::{self, JSON, Reply, ReplyBody};
use crate::routes::images::Images;
use crate::routes::program::key_text;
use crate::routes::tenants::Tenants;
use crate::routes::{Call, Command, Endpoint, Files, Pty, Session, find};
use crate::store::Kept;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hyper::{HeaderMap, Method, StatusCode};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What becomes of the answer of a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// It is kept and given again.
    Answer,
    /// Only that there was one is kept: it holds a secret.
    Fact,
    /// The route keeps its own, has nothing to keep, or streams.
    Nothing,
}

/// What a call leaves behind.
pub(super) fn memory(endpoint: Endpoint<'_>) -> Memory {
    match endpoint {
        Endpoint::PatchSandbox(_)
        | Endpoint::DeleteSandbox(_)
        | Endpoint::Lifecycle(..)
        | Endpoint::Command(_, Command::Kill | Command::Stdin(_) | Command::Signal(_))
        | Endpoint::Session(_, Session::Exec)
        | Endpoint::Pty(_, Pty::Create | Pty::Delete(_) | Pty::Execute(_) | Pty::Resize(_))
        | Endpoint::Files(
            _,
            Files::Delete
            | Files::MakeDirectory
            | Files::Create
            | Files::Copy
            | Files::Move
            | Files::Chmod
            | Files::Compress
            | Files::Extract,
        )
        | Endpoint::Images(Images::Delete(_))
        | Endpoint::Tenants(Tenants::DeleteKey(_) | Tenants::ActivateKey(_) | Tenants::TouchKey(_)) => {
            Memory::Answer
        }
        Endpoint::Tenants(Tenants::CreateKey) => Memory::Fact,
        Endpoint::Health
        | Endpoint::Version
        | Endpoint::OpenApi
        | Endpoint::ListSandboxes
        | Endpoint::CreateSandbox
        | Endpoint::GetSandbox(_)
        | Endpoint::Isolation(_)
        | Endpoint::Stats(_)
        | Endpoint::Events
        | Endpoint::Exec(_)
        | Endpoint::ExecStream(_)
        | Endpoint::Session(_, Session::Stream)
        | Endpoint::Command(_, Command::Run | Command::List | Command::Attach | Command::Wait)
        | Endpoint::Pty(_, Pty::Ephemeral | Pty::List | Pty::Attach(_) | Pty::Buffer(_))
        | Endpoint::Files(
            _,
            Files::List
            | Files::Download
            | Files::Upload
            | Files::Stat
            | Files::DiskUsage
            | Files::Search
            | Files::HeadTail
            | Files::Watch
            | Files::WatchSocket(_),
        )
        | Endpoint::Images(Images::List | Images::Create | Images::Get(_) | Images::Named(_))
        | Endpoint::Tenants(
            Tenants::Me | Tenants::Users | Tenants::ListKeys | Tenants::Register | Tenants::Leaks,
        ) => Memory::Nothing,
    }
}

/// Requests with a key that are under way: one at a time of each scope.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>);

/// One scope's turn; dropped, the next one has it.
struct Flight {
    app: Arc<App>,
    scope: String,
    turn: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Flight {
    async fn begin(app: Arc<App>, scope: String) -> Self {
        let lock = {
            let mut flights = app.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(flights.entry(scope.clone()).or_default())
        };
        // Made first: who gives up waiting leaves no entry behind either.
        let mut flight = Self { app, scope, turn: None };
        flight.turn = Some(lock.lock_owned().await);
        flight
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        drop(self.turn.take());
        let mut flights = self.app.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Who waits has a clone of it.
        if flights.get(&self.scope).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            flights.remove(&self.scope);
        }
    }
}

/// The scope of a request with a key: no other organisation, route, object or key has it.
pub(super) fn scope(
    headers: &HeaderMap,
    principal: &Principal,
    method: &Method,
    path: &str,
) -> ApiResult<Option<String>> {
    let Some(key) = key_text(headers)? else { return Ok(None) };
    // Repeated slashes are the same path.
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let path = path.join("/");
    let parts = [principal.org.as_bytes(), method.as_str().as_bytes(), path.as_bytes(), key];
    let hash = parts.iter().fold(Sha256::new(), |hash, part| {
        // No part can be continued by the next one.
        hash.chain_update(part.len().to_le_bytes()).chain_update(part)
    });
    Ok(Some(URL_SAFE_NO_PAD.encode(hash.finalize())))
}

/// Runs a call, or gives the answer that the first one of its scope got.
pub(super) async fn run(
    call: Call,
    method: Method,
    path: String,
    scope: String,
    memory: Memory,
) -> ApiResult<Reply> {
    let Call { app, query, .. } = &call;
    let (app, query) = (Arc::clone(app), query.clone());
    let body = input::read(call.body, &app.bodies).await?;
    let digest: [u8; 32] =
        Sha256::new().chain_update(query).chain_update([0]).chain_update(&body).finalize().into();
    let flight = Flight::begin(Arc::clone(&app), scope.clone()).await;
    if let Some(kept) = app.store.answer(scope.clone()).await? {
        return again(kept, digest);
    }
    let org = call.principal.org.clone();
    let call = Call { body: RequestBody::Here(body), ..call };
    let task = tokio::spawn(async move {
        let outcome = match find(&method, &path).endpoint {
            Ok(endpoint) => super::route(call, endpoint).await,
            Err(miss) => Err(miss.into()),
        };
        if let Some(kept) = kept(&outcome, digest, memory)
            && let Err(error) = app.store.keep_answer(scope, org, kept).await
        {
            // It was done: the client is told, and a repetition would be done again.
            tracing::error!(error = chain(&error), "an answer was not kept");
        }
        drop(flight);
        outcome
    });
    task.await.map_err(ApiError::internal)?
}

fn again(kept: Kept, digest: [u8; 32]) -> ApiResult<Reply> {
    let conflict = |text| Err(ApiError::new(StatusCode::CONFLICT, text));
    if kept.digest != digest {
        return conflict("Idempotency-Key: was used with another request");
    }
    let Some(body) = kept.body else {
        return conflict("Idempotency-Key: the request was carried out, its answer was not kept");
    };
    let status = StatusCode::from_u16(kept.status).map_err(ApiError::internal)?;
    Ok(reply::with(status, JSON, ReplyBody::Whole(Bytes::from(body))))
}

/// What is kept of an outcome: nothing of what may go better the next time.
fn kept(outcome: &ApiResult<Reply>, digest: [u8; 32], memory: Memory) -> Option<Kept> {
    let refusal;
    let reply = match outcome {
        Ok(reply) => reply,
        Err(error) => {
            refusal = reply::refuse(error);
            &refusal
        }
    };
    let status = reply.status();
    // What was refused did nothing and may be done again, but for a conflict: that can come when half is done.
    let refused = status.is_client_error() && status != StatusCode::CONFLICT;
    if status.is_server_error() || refused {
        return None;
    }
    let body = match reply.body() {
        ReplyBody::Whole(bytes) if bytes.len() <= limits::ANSWER_BYTES => Some(bytes.to_vec()),
        _ => None,
    };
    let body = body.filter(|_| memory == Memory::Answer || outcome.is_err());
    Some(Kept { digest, status: status.as_u16(), body })
}

/// Drops old answers, for ever.
pub(crate) async fn sweep(app: Arc<App>) {
    loop {
        if let Err(error) = app.store.sweep_answers().await {
            tracing::warn!(error = chain(&error), "old answers were not dropped");
        }
        tokio::time::sleep(limits::ANSWER_SWEEP).await;
    }
}
