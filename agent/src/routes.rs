//! The two calls of the agent's protocol, from bytes to types and back.
//!
//! Every refusal of an execution is a 422 with a typed reason; no text of an error ever leaves.

use crate::body::Body;
use crate::execution::Executions;
use bulkhead_protocol::agent::{
    AGENT_PROTOCOL, EXECUTIONS_PATH, ExecutionSpec, HELLO_PATH, Hello, MAX_JSON, StartFailure,
    StartFailureKind,
};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

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
        (&Method::POST, EXECUTIONS_PATH) => execute(request, executions).await,
        _ => empty(StatusCode::NOT_FOUND),
    })
}

async fn hello(request: Request<Incoming>) -> Response<Body> {
    match read_json::<Hello>(request).await {
        Ok(hello) => json(StatusCode::OK, &Hello { protocol: AGENT_PROTOCOL, nonce: hello.nonce }),
        Err(ReadError::Malformed) => empty(StatusCode::BAD_REQUEST),
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
        Ok(output) => {
            output.settle(FIRST_NEWS).await;
            let mut response = Response::new(Body::Output(output));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
            response
        }
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

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    let Ok(text) = serde_json::to_vec(value) else { return empty(StatusCode::INTERNAL_SERVER_ERROR) };
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
