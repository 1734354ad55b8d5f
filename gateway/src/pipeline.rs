//! What happens to every request, in one order: request id → shape of the request → route → authentication →
//! handler → one place that makes errors into answers. Authentication comes before the first byte of the
//! body.

mod access;
mod once;

pub(crate) use once::{Flights, sweep};

use crate::app::App;
use crate::audit::{self, Object, Record};
use crate::auth::Principal;
use crate::error::{ApiError, ApiResult};
use crate::metrics::Answer;
use crate::rate::Limiter;
use crate::reply::{self, Reply};
use crate::routes::tenants::{self, Tenants, register};
use crate::routes::{
    Call, Endpoint, Files, Miss, Pty, commands, events, exec, files, find, images, pty, sandboxes, session,
    system,
};
use crate::server::Place;
use access::Access;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use once::Memory;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tracing::Instrument;

static FAILURES: Limiter = Limiter::new();

/// What the audit log shall know of a request, beside its answer.
struct Trace<'a> {
    id: &'a str,
    method: &'static str,
    template: &'static str,
    /// The last name in the path.
    object: &'a str,
    peer: Option<SocketAddr>,
    principal: Option<Principal>,
}

/// Answers one request of a client.
pub(crate) async fn handle(app: Arc<App>, numbers: Arc<Numbers>, request: Request<Incoming>) -> Reply {
    let id = numbers.next();
    // Whatever is logged on the way has the request's id.
    let span = tracing::info_span!("request", id);
    answer(app, id, request).instrument(span).await
}

async fn answer(app: Arc<App>, id: String, request: Request<Incoming>) -> Reply {
    let start = Instant::now();
    let path = request.uri().path().to_owned();
    let matched = find(request.method(), &path);
    let template = matched.template;
    let allow = match matched.endpoint {
        Err(Miss::Method(allow)) => Some(allow),
        _ => None,
    };
    let method = method(request.method());
    let place = request.extensions().get::<Place>().cloned();
    let peer = place.as_ref().map(Place::peer);
    let mut trace = Trace { id: &id, method, template, object: object(&path), peer, principal: None };
    let outcome = match (shape(&request), matched.endpoint) {
        (Err(error), _) => Err(error),
        (Ok(()), Err(miss)) => Err(miss.into()),
        (Ok(()), Ok(endpoint)) => dispatch(&app, endpoint, request, &mut trace).await,
    };
    let mut reply = outcome.unwrap_or_else(|error| {
        note(&error, &id, template);
        if let Some(limit) = error.limit() {
            app.metrics.limit_hit(limit);
        }
        refused(&error)
    });
    let owned = |place: Place| trace.principal.as_ref().is_some_and(|who| place.claim().is_of(who));
    let unowned = !place.is_some_and(owned);
    if unowned && matches!(reply.status(), StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS) {
        // It would go on without counting for anybody.
        reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if let Some(allow) = allow {
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    finish(reply.headers_mut(), &id);
    witness(&app, &trace, matched.endpoint, &reply);
    let answer = Answer { method, route: template, status: reply.status().as_u16() };
    tracing::debug!(id, method, route = template, status = answer.status, "answered");
    app.metrics.answered(answer, start.elapsed());
    reply
}

fn refused(error: &ApiError) -> Reply {
    let mut reply = reply::refuse(error);
    let headers = reply.headers_mut();
    if matches!(error.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
        // The rest of the body is not read.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if error.status == StatusCode::UPGRADE_REQUIRED {
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    reply
}

async fn dispatch(
    app: &Arc<App>,
    endpoint: Endpoint<'_>,
    mut request: Request<Incoming>,
    trace: &mut Trace<'_>,
) -> ApiResult<Reply> {
    match endpoint {
        Endpoint::Health => return system::health(app).await,
        Endpoint::Version => return Ok(system::version()),
        Endpoint::OpenApi => return Ok(system::openapi()),
        Endpoint::Tenants(Tenants::Register) => {
            return register::register(app, request.into_body().into()).await;
        }
        _ => {}
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default().to_owned();
    let principal = access::authenticate(app, endpoint, &head.headers, &query)?;
    trace.principal = Some(principal.clone());
    let (version, mut extensions) = (head.version, head.extensions);
    let place = extensions.remove::<Place>();
    let Access { principal, held } = access::admit(app, endpoint, principal, place.as_ref())?;
    let memory = once::memory(endpoint);
    let scope = match memory {
        Memory::Answer | Memory::Fact => {
            once::scope(&head.headers, &principal, &head.method, head.uri.path())?
        }
        Memory::Nothing => None,
    };
    let (app, headers) = (Arc::clone(app), head.headers);
    let (body, kept) = (body.into(), Arc::clone(&held));
    let call = Call { app, principal, query, headers, body, upgrade, version, place, held };
    let reply = match scope {
        Some(scope) => once::run(call, head.method, head.uri.path().to_owned(), scope, memory).await?,
        None => route(call, endpoint).await?,
    };
    Ok(reply::holding(reply, kept))
}

/// To the handler of a call that may be made.
async fn route(call: Call, endpoint: Endpoint<'_>) -> ApiResult<Reply> {
    match endpoint {
        Endpoint::ListSandboxes => sandboxes::list(&call),
        Endpoint::CreateSandbox => sandboxes::create(call).await,
        Endpoint::GetSandbox(id) => sandboxes::get(&call, id),
        Endpoint::PatchSandbox(id) => sandboxes::patch(call, id).await,
        Endpoint::DeleteSandbox(id) => sandboxes::delete(&call, id).await,
        Endpoint::Lifecycle(id, step) => sandboxes::lifecycle::answer(call, id, step).await,
        Endpoint::Isolation(id) => sandboxes::isolation(&call, id).await,
        Endpoint::Stats(id) => sandboxes::stats(&call, id).await,
        Endpoint::Events => events::follow(&call),
        Endpoint::Exec(id) => exec::exec(call, id).await,
        Endpoint::ExecStream(id) => exec::stream(call, id).await,
        Endpoint::Command(id, command) => commands::answer(call, id, command).await,
        Endpoint::Session(id, call_of) => session::answer(call, id, call_of).await,
        Endpoint::Pty(id, call_of) => pty::answer(call, id, call_of).await,
        Endpoint::Files(id, call_of) => files::answer(call, id, call_of).await,
        Endpoint::Images(call_of) => images::answer(call, call_of).await,
        Endpoint::Tenants(call_of) => tenants::answer(call, call_of).await,
        Endpoint::Health | Endpoint::Version | Endpoint::OpenApi => Err(Miss::Path.into()),
    }
}

/// Writes the line of the audit log: of what changes something, and of every key that was not accepted.
fn witness(app: &App, trace: &Trace<'_>, endpoint: Result<Endpoint<'_>, Miss>, reply: &Reply) {
    let socket = match endpoint {
        Ok(Endpoint::Pty(_, pty)) => matches!(pty, Pty::Ephemeral | Pty::Attach(_)),
        Ok(Endpoint::Files(_, files)) => matches!(files, Files::WatchSocket(_)),
        _ => false,
    };
    let status = reply.status();
    let wanted = socket || trace.method != "GET" && trace.principal.is_some();
    if endpoint.is_err() || !wanted && status != StatusCode::UNAUTHORIZED && status != StatusCode::CREATED {
        return;
    }
    let action = format!("{} {}", trace.method, trace.template);
    let made = reply.extensions().get::<Object>();
    let object = made.map_or(trace.object, |Object(id)| id.as_str());
    let record = Record {
        request_id: trace.id,
        object,
        status: status.as_u16(),
        peer: trace.peer,
        ..Record::of(&action)
    };
    match &trace.principal {
        Some(principal) if status.is_client_error() => {
            let flood = &app.accounts.of(&principal.org).refusals;
            app.audit.limited(&app.metrics, flood, audit::by(principal, record));
        }
        Some(principal) => app.audit.note(&app.metrics, audit::by(principal, record)),
        None if status == StatusCode::UNAUTHORIZED => app.audit.refused(&app.metrics, record),
        None => app.audit.note(&app.metrics, record),
    }
}

/// What a path is about: the id behind the kind of thing, where there is one.
fn object(path: &str) -> &str {
    let mut parts = path.split('/').filter(|part| !part.is_empty()).skip(1);
    match parts.next() {
        Some("sandboxes" | "images") => parts.next().unwrap_or_default(),
        Some("orgs") => parts.nth(1).unwrap_or_default(),
        _ => "",
    }
}

/// Refuses what two readers could understand in two ways.
fn shape(request: &Request<Incoming>) -> ApiResult<()> {
    let headers = request.headers();
    if headers.contains_key(header::CONTENT_LENGTH) && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(ApiError::bad_request("a request has a length or is chunked, not both"));
    }
    if request.version() == Version::HTTP_11 && headers.get_all(header::HOST).iter().count() != 1 {
        return Err(ApiError::bad_request("a request needs exactly one Host header"));
    }
    Ok(())
}

/// The method for metrics: a closed set.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "DELETE" => "DELETE",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

fn finish(headers: &mut HeaderMap, id: &str) {
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert("x-request-id", id);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A stream has its own word (contract §4.2).
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Our own failures go to the log with their causes; what a client did wrong does not.
fn note(error: &ApiError, id: &str, route: &'static str) {
    if error.status.is_server_error() {
        if let Some(held_back) = FAILURES.permit() {
            let (status, causes) = (error.status.as_u16(), error.chain());
            tracing::warn!(id, route, status, message = %error.message, causes, held_back, "a request failed");
        }
    } else {
        tracing::debug!(
            id,
            route,
            status = error.status.as_u16(),
            causes = error.chain(),
            "a request was refused"
        );
    }
}

/// Gives every request a name that no other request of any gateway has, and that does not say how many there were.
#[derive(Debug)]
pub(crate) struct Numbers {
    secret: [u8; 32],
    next: AtomicU64,
}

impl Numbers {
    /// With random bytes of its own.
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret, next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed).to_le_bytes();
        let hash = Sha256::new().chain_update(self.secret).chain_update(number).finalize();
        // 120 bits: no two are alike, and 20 characters.
        URL_SAFE_NO_PAD.encode(&hash[..15])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_requests_differ_and_do_not_count() {
        let (one, two) = (Numbers::new([1; 32]), Numbers::new([2; 32]));
        let names = [one.next(), one.next(), two.next(), two.next()];
        let different: std::collections::HashSet<_> = names.iter().map(|name| &name[..8]).collect();
        assert_eq!((different.len(), names[0].len()), (4, 20), "{names:?}");
    }
}
