//! Who may do this, and whether their organisation may have it now: key, rate of requests, scope, and what the call
//! will hold, in this order and before the first byte of the body.

use crate::app::App;
use crate::auth::{self, Principal, Scope};
use crate::error::{ApiError, ApiResult};
use crate::input;
use crate::quota::{Held, Kind};
use crate::routes::images::Images;
use crate::routes::{Command, Endpoint, Files, Pty, Session};
use crate::server::Place;
use hyper::HeaderMap;
use hyper::header::HeaderValue;
use std::sync::Arc;

/// Who asks, and what the call holds for its organisation until it is over.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) principal: Principal,
    pub(super) held: Arc<Vec<Held>>,
}

/// Who shows the key of this request.
pub(super) fn authenticate(
    app: &App,
    endpoint: Endpoint<'_>,
    headers: &HeaderMap,
    query: &str,
) -> ApiResult<Principal> {
    match endpoint {
        Endpoint::Pty(_, Pty::Ephemeral | Pty::Attach(_)) | Endpoint::Files(_, Files::WatchSocket(_)) => {
            app.keys.authenticate(&key_of_socket(headers, query))
        }
        _ => app.keys.authenticate(headers),
    }
}

/// Lets a principal in.
pub(super) fn admit(
    app: &App,
    endpoint: Endpoint<'_>,
    principal: Principal,
    place: Option<&Place>,
) -> ApiResult<Access> {
    let account = app.accounts.of(&principal.org);
    account.request()?;
    if let Some(place) = place
        && !place.claim().is_of(&principal)
    {
        let connection = account.take(Kind::Connection)?;
        place.claim().take(principal.clone(), Arc::clone(&account), connection);
    }
    if let Some(scope) = scope(endpoint) {
        principal.require(scope)?;
    }
    let held = kinds(endpoint).iter().map(|kind| account.take(*kind).map_err(ApiError::from));
    let held = Arc::new(held.collect::<ApiResult<Vec<_>>>()?);
    Ok(Access { principal, held })
}

/// What a key must have for a call.
fn scope(endpoint: Endpoint<'_>) -> Option<Scope> {
    match endpoint {
        Endpoint::Health | Endpoint::Version | Endpoint::OpenApi => None,
        Endpoint::ListSandboxes
        | Endpoint::GetSandbox(_)
        | Endpoint::Isolation(_)
        | Endpoint::Stats(_)
        | Endpoint::Events => Some(Scope::SandboxesRead),
        Endpoint::CreateSandbox
        | Endpoint::PatchSandbox(_)
        | Endpoint::DeleteSandbox(_)
        | Endpoint::Lifecycle(..) => Some(Scope::SandboxesWrite),
        Endpoint::Exec(_)
        | Endpoint::ExecStream(_)
        | Endpoint::Command(..)
        | Endpoint::Pty(..)
        | Endpoint::Session(..)
        | Endpoint::Files(..) => Some(Scope::Exec),
        Endpoint::Images(images) => Some(images.scope()),
        Endpoint::Tenants(tenants) => tenants.scope(),
    }
}

/// What a call holds while it goes on.
fn kinds(endpoint: Endpoint<'_>) -> &'static [Kind] {
    match endpoint {
        Endpoint::Exec(_) | Endpoint::Session(_, Session::Exec) => &[Kind::Execution],
        Endpoint::ExecStream(_)
        | Endpoint::Session(_, Session::Stream)
        | Endpoint::Pty(_, Pty::Ephemeral) => &[Kind::Execution, Kind::Stream],
        Endpoint::Command(_, Command::Attach | Command::Wait) | Endpoint::Pty(_, Pty::Attach(_)) => {
            &[Kind::Stream]
        }
        Endpoint::Files(_, files) => match files {
            Files::List
            | Files::Download
            | Files::Upload
            | Files::Search
            | Files::HeadTail
            | Files::Watch
            | Files::WatchSocket(_) => &[Kind::Stream],
            Files::Delete
            | Files::MakeDirectory
            | Files::Create
            | Files::Copy
            | Files::Move
            | Files::Chmod
            | Files::Stat
            | Files::DiskUsage
            | Files::Compress
            | Files::Extract => &[Kind::Execution],
        },
        Endpoint::Images(Images::Create) | Endpoint::Events => &[Kind::Stream],
        _ => &[],
    }
}

/// A browser cannot give a WebSocket headers: for those alone the key may be in the query (contract §1.2).
fn key_of_socket(headers: &HeaderMap, query: &str) -> HeaderMap {
    let mut headers = headers.clone();
    if !headers.contains_key(auth::HEADER)
        && let Ok(Some(key)) = input::parameter(query, "apiKey")
        && let Ok(mut key) = HeaderValue::from_str(&key)
    {
        key.set_sensitive(true);
        headers.insert(auth::HEADER, key);
    }
    headers
}
