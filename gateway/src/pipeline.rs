//! What happens to every request, in one order: request id → shape of the request → route → authentication →
//! handler → one place that makes errors into answers. Authentication comes before the first byte of the
//! body.

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::metrics::Answer;
use crate::rate::Limiter;
use crate::reply::{self, Reply};
use crate::routes::{Call, Endpoint, Miss, Pty, commands, exec, find, pty, sandboxes, session, system};
use crate::server::Place;
use crate::{auth, input};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

static FAILURES: Limiter = Limiter::new();

/// Answers one request of a client.
pub(crate) async fn handle(app: Arc<App>, numbers: Arc<Numbers>, request: Request<Incoming>) -> Reply {
    let start = Instant::now();
    let id = numbers.next();
    let method = method(request.method());
    let path = request.uri().path().to_owned();
    let matched = find(request.method(), &path);
    let template = matched.template;
    let allow = match matched.endpoint {
        Err(Miss::Method(allow)) => Some(allow),
        _ => None,
    };
    let outcome = match (shape(&request), matched.endpoint) {
        (Err(error), _) => Err(error),
        (Ok(()), Err(miss)) => Err(miss.into()),
        (Ok(()), Ok(endpoint)) => dispatch(&app, endpoint, request).await,
    };
    let mut reply = outcome.unwrap_or_else(|error| {
        note(&error, &id, template);
        let mut reply = reply::refuse(&error);
        if matches!(error.status, StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT) {
            // The rest of the body is not read.
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    });
    if reply.status() == StatusCode::UPGRADE_REQUIRED {
        reply.headers_mut().insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        reply.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    }
    if let Some(allow) = allow {
        reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    finish(reply.headers_mut(), &id);
    let answer = Answer { method, route: template, status: reply.status().as_u16() };
    tracing::debug!(id, method, route = template, status = answer.status, "answered");
    app.metrics.answered(answer, start.elapsed());
    reply
}

async fn dispatch(
    app: &Arc<App>,
    endpoint: Endpoint<'_>,
    mut request: Request<Incoming>,
) -> ApiResult<Reply> {
    match endpoint {
        Endpoint::Health => return system::health(app).await,
        Endpoint::Version => return Ok(system::version()),
        Endpoint::OpenApi => return Ok(system::openapi()),
        Endpoint::ListSandboxes
        | Endpoint::CreateSandbox
        | Endpoint::GetSandbox(_)
        | Endpoint::PatchSandbox(_)
        | Endpoint::DeleteSandbox(_)
        | Endpoint::Lifecycle(..)
        | Endpoint::Isolation(_)
        | Endpoint::Exec(_)
        | Endpoint::ExecStream(_)
        | Endpoint::Command(..)
        | Endpoint::Pty(..)
        | Endpoint::Session(..) => {}
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let principal = match endpoint {
        Endpoint::Pty(_, Pty::Ephemeral | Pty::Attach(_)) => {
            app.keys.authenticate(&key_of_socket(request.headers(), &query))?
        }
        _ => app.keys.authenticate(request.headers())?,
    };
    let upgrade = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    let (version, mut extensions) = (head.version, head.extensions);
    let place = extensions.remove::<Place>();
    let (app, headers) = (Arc::clone(app), head.headers);
    let call = Call { app, principal, query, headers, body, upgrade, version, place };
    match endpoint {
        Endpoint::ListSandboxes => sandboxes::list(&call),
        Endpoint::CreateSandbox => sandboxes::create(call).await,
        Endpoint::GetSandbox(id) => sandboxes::get(&call, id),
        Endpoint::PatchSandbox(id) => sandboxes::patch(call, id).await,
        Endpoint::Lifecycle(id, step) => sandboxes::lifecycle::answer(call, id, step).await,
        Endpoint::DeleteSandbox(id) => sandboxes::delete(&call, id).await,
        Endpoint::Isolation(id) => sandboxes::isolation(&call, id).await,
        Endpoint::Exec(id) => exec::exec(call, id).await,
        Endpoint::ExecStream(id) => exec::stream(call, id).await,
        Endpoint::Command(id, command) => commands::answer(call, id, command).await,
        Endpoint::Session(id, call_of) => session::answer(call, id, call_of).await,
        Endpoint::Pty(id, call_of) => pty::answer(call, id, call_of).await,
        Endpoint::Health | Endpoint::Version | Endpoint::OpenApi => Err(Miss::Path.into()),
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
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
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

/// Gives every request a name that no other request of any gateway has.
#[derive(Debug)]
pub(crate) struct Numbers {
    process: String,
    next: AtomicU64,
}

impl Numbers {
    pub(crate) fn new(process: String) -> Self {
        Self { process, next: AtomicU64::new(1) }
    }

    fn next(&self) -> String {
        format!("{}-{}", self.process, self.next.fetch_add(1, Ordering::Relaxed))
    }
}
