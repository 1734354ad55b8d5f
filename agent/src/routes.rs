//! The calls of the agent's protocol, from bytes to types and back.
//!
//! Every refusal of an execution is a 422 with a typed reason; no text of an error ever leaves.

mod files;
mod one;

use crate::body::Body;
use crate::execution::{Executions, Output, Start};
use crate::hostname;
use bulkhead_protocol::agent::{
    AGENT_PROTOCOL, EXECUTIONS_PATH, ExecutionSpec, HELLO_PATH, Hello, HelloReply, MAX_JSON, NAME_PATH, Name,
    StartFailure, StartFailureKind,
};
use bulkhead_protocol::files::FILES_PATH;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderValue, UPGRADE};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

/// What a connection is upgraded to.
const FRAMES: &str = "bulkhead-frames";
/// How long a peer may take to send a body of at most [`MAX_JSON`] bytes.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the beginning of an answer may wait for something to say.
const FIRST_NEWS: Duration = Duration::from_millis(5);

/// Answers one request.
pub(crate) async fn answer(
    request: Request<Incoming>,
    executions: Rc<Executions>,
) -> Result<Response<Body>, Infallible> {
    Ok(match (request.method(), request.uri().path()) {
        (&Method::POST, HELLO_PATH) => hello(request).await,
        (&Method::POST, NAME_PATH) => name(request).await,
        (&Method::POST, EXECUTIONS_PATH) => execute(request, executions).await,
        (&Method::POST, FILES_PATH) => files::answer(request, executions).await,
        (&Method::GET, EXECUTIONS_PATH) => json_text(StatusCode::OK, executions.list()),
        _ => match one::Call::parse(request.method(), request.uri()) {
            Ok(call) => one::answer(call, request, &executions).await,
            Err(status) => empty(status),
        },
    })
}

async fn hello(request: Request<Incoming>) -> Response<Body> {
    match read_json::<Hello>(request).await {
        Ok(Hello { nonce, .. }) => {
            let release = Some(env!("CARGO_PKG_VERSION").to_owned());
            json(StatusCode::OK, &HelloReply { protocol: AGENT_PROTOCOL, nonce, release })
        }
        Err(ReadError::Malformed) => empty(StatusCode::BAD_REQUEST),
        Err(error) => empty(error.status()),
    }
}

async fn name(request: Request<Incoming>) -> Response<Body> {
    match read_json::<Name>(request).await {
        Ok(name) => match hostname::write(&name.hostname) {
            Ok(()) => json_text(StatusCode::OK, b"{}".to_vec()),
            Err(hostname::Error::Invalid) => empty(StatusCode::BAD_REQUEST),
            Err(hostname::Error::Call) => empty(StatusCode::INTERNAL_SERVER_ERROR),
        },
        Err(error) => empty(error.status()),
    }
}

async fn execute(request: Request<Incoming>, executions: Rc<Executions>) -> Response<Body> {
    let spec = match read_json::<ExecutionSpec>(request).await {
        Ok(spec) => spec,
        Err(ReadError::Malformed) => {
            return refusal(StartFailure { kind: StartFailureKind::Invalid, errno: None });
        }
        Err(error) => return empty(error.status()),
    };
    match executions.start(spec).await {
        Ok(Start::Attached(output)) => {
            output.settle(FIRST_NEWS).await;
            frames(output)
        }
        Ok(Start::Detached(started)) => json(StatusCode::OK, &started),
        Err(failure) => refusal(failure),
    }
}

fn refusal(failure: StartFailure) -> Response<Body> {
    json(StatusCode::UNPROCESSABLE_ENTITY, &failure)
}

/// Why a request's body could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadError {
    Late,
    TooLong,
    Malformed,
}

impl ReadError {
    fn status(self) -> StatusCode {
        match self {
            ReadError::Late => StatusCode::REQUEST_TIMEOUT,
            ReadError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            ReadError::Malformed => StatusCode::BAD_REQUEST,
        }
    }
}

async fn read_json<T: serde::de::DeserializeOwned>(request: Request<Incoming>) -> Result<T, ReadError> {
    let body = Limited::new(request.into_body(), MAX_JSON).collect();
    let collected = tokio::time::timeout(BODY_TIMEOUT, body).await.map_err(|_| ReadError::Late)?;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => return Err(ReadError::TooLong),
        Err(_) => return Err(ReadError::Malformed),
    };
    serde_json::from_slice(&bytes).map_err(|_| ReadError::Malformed)
}

fn frames(output: Output) -> Response<Body> {
    let mut response = Response::new(Body::Output(output));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    response
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(text) => json_text(status, text),
        Err(_) => empty(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn json_text(status: StatusCode, text: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::new()));
    *response.status_mut() = status;
    response
}

fn wants_frames(headers: &HeaderMap) -> bool {
    headers.get(UPGRADE).is_some_and(|wanted| wanted == FRAMES)
}

fn switching_to_frames() -> Response<Body> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(FRAMES));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response
}
