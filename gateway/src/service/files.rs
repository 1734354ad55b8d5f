//! File operations: each is a connection to a worker inside the sandbox, which has its rights and not ours. The
//! gateway never touches a file; it says what it wants and checks what it is told.

mod failure;
mod feed;
pub(crate) mod watch;

pub(crate) use failure::refusal;
pub(crate) use feed::{Broken, Feed};

use crate::agent_client::{Opened, Piece};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::input::Content;
use crate::registry::Visit;
use crate::service::exec::place;
use crate::service::live::reach;
use bulkhead_protocol::files::{FileCall, FileDone, FileFailure, FileOperation};
use hyper::StatusCode;
use std::sync::Arc;

/// What came of asking for an operation.
#[derive(Debug)]
pub(crate) enum Begun {
    /// It goes on; of a download the size of the whole file.
    Feed(Box<Feed>, Option<u64>),
    /// It had no effect.
    Failed(FileFailure),
}

/// Begins an operation.
pub(crate) async fn begin(app: &Arc<App>, visit: Visit, call: &FileCall) -> ApiResult<Begun> {
    let place = place(&visit)?;
    match reach(app, &visit, app.agents.file(&visit.facts.id, call)).await? {
        Opened::Begun(link, size) => {
            Ok(Begun::Feed(Box::new(Feed::new(Arc::clone(app), visit, link, place)), size))
        }
        Opened::Failed(failure) => Ok(Begun::Failed(failure)),
    }
}

/// An operation with the rights of the user that the sandbox's image names.
pub(crate) fn call(visit: &Visit, operation: FileOperation) -> FileCall {
    FileCall { user: visit.facts.settings.surroundings().user, operation }
}

/// [`begin`], where a failure is what the client learns.
pub(crate) async fn open(
    app: &Arc<App>,
    visit: Visit,
    operation: FileOperation,
) -> ApiResult<(Box<Feed>, Option<u64>)> {
    let call = call(&visit, operation);
    match begin(app, visit, &call).await? {
        Begun::Feed(feed, size) => Ok((feed, size)),
        Begun::Failed(failure) => Err(refusal(&call.operation, failure)),
    }
}

/// Carries out an operation that has no content.
pub(crate) async fn carry_out(app: Arc<App>, visit: Visit, operation: FileOperation) -> ApiResult<FileDone> {
    let (mut feed, _) = open(&app, visit, operation.clone()).await?;
    match feed.piece().await? {
        Piece::Done(done) => finished(&operation, *done),
        Piece::Content(_) => Err(feed.malformed("content of an operation without one")),
    }
}

/// The end of an operation that has to end well.
fn finished(operation: &FileOperation, done: FileDone) -> ApiResult<FileDone> {
    match done.failure {
        None => Ok(done),
        Some(failure) => Err(refusal(operation, failure)),
    }
}

/// Carries out an operation that takes content. Nothing of it stays unless all of it came.
pub(crate) async fn upload(
    app: &Arc<App>,
    visit: Visit,
    operation: FileOperation,
    content: &mut Content,
) -> ApiResult<FileDone> {
    let (mut feed, _) = open(app, visit, operation.clone()).await?;
    loop {
        // The worker may say that it has failed while the client is still sending.
        tokio::select! {
            bytes = content.next() => match bytes? {
                Some(bytes) => feed.send(&bytes).await?,
                None => break,
            },
            piece = feed.piece() => return match piece? {
                Piece::Done(done) if done.failure.is_some() => finished(&operation, *done),
                Piece::Done(_) | Piece::Content(_) => Err(feed.malformed("the end of an upload before its content's")),
            },
        }
    }
    feed.end().await?;
    match feed.piece().await? {
        Piece::Done(done) => finished(&operation, *done),
        Piece::Content(_) => Err(feed.malformed("content of an upload")),
    }
}

/// An agent that left out what belongs to an answer.
pub(crate) fn incomplete() -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, "the sandbox's agent failed")
}
