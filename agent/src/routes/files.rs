//! `POST /v1/files`: hands the connection to a worker.

use super::{ReadError, empty, read_json, refusal, switching_to_frames, wants_frames};
use crate::body::Body;
use crate::execution::{Executions, Worker};
use bulkhead_protocol::agent::{StartFailure, StartFailureKind};
use bulkhead_protocol::files::FileCall;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use std::rc::Rc;

pub(super) async fn answer(mut request: Request<Incoming>, executions: Rc<Executions>) -> Response<Body> {
    if !wants_frames(request.headers()) {
        return empty(StatusCode::UPGRADE_REQUIRED);
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let call = match read_json::<FileCall>(request).await {
        Ok(call) => call,
        Err(ReadError::Malformed) => {
            return refusal(StartFailure { kind: StartFailureKind::Invalid, errno: None });
        }
        Err(error) => return empty(error.status()),
    };
    match Worker::admit(executions, &call).await {
        Ok(worker) => {
            tokio::task::spawn_local(worker.serve(upgrade));
            switching_to_frames()
        }
        Err(failure) => refusal(failure),
    }
}
