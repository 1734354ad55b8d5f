//! `POST /sandboxes/{id}/start` and its like (contract §3.6): where a sandbox shall be. One that is there already is a
//! success; where there is no way, that is a conflict.

use crate::api::{Done, refusals};
use crate::error::ApiResult;
use crate::input::{self, Fields};
use crate::registry::Goal;
use crate::reply::{self, Reply};
use crate::routes::{Call, Lifecycle};
use crate::service::life;
use hyper::StatusCode;

/// Answers one call.
pub(crate) async fn answer(call: Call, id: &str, step: Lifecycle) -> ApiResult<Reply> {
    match step {
        Lifecycle::Start => start(call, id).await,
        Lifecycle::Sleep => sleep(call, id).await,
        Lifecycle::Wake => wake(call, id).await,
        Lifecycle::Stop => stop(call, id).await,
        Lifecycle::Pause => pause(call, id).await,
        Lifecycle::Resume => resume(call, id).await,
        Lifecycle::Freeze => freeze(call, id).await,
        Lifecycle::Thaw => thaw(call, id).await,
    }
}

async fn bring(call: Call, id: &str, goal: Goal, message: &'static str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let body = input::read(call.body, &call.app.bodies).await?;
    // Nothing in it means anything yet.
    drop(Fields::of_body(&body)?);
    life::reach(&call.app, &sandbox, goal).await?;
    Ok(reply::json(StatusCode::OK, &Done { status: "success", message }))
}

/// Runs a sandbox, wherever it stands: asleep, frozen, killed or failed. Files are kept; a first start that failed
/// begins anew.
#[utoipa::path(
    post, path = "/sandboxes/{id}/start", operation_id = "startSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn start(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Started, "sandbox started").await
}

/// Puts a sandbox to sleep: everything that runs in it ends, with end `sleep`; files, limits and labels are kept.
#[utoipa::path(
    post, path = "/sandboxes/{id}/sleep", operation_id = "sleepSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn sleep(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Asleep, "sandbox is asleep").await
}

/// Wakes a sandbox: it runs again, with its files and without any process of before. A frozen one is thawed.
#[utoipa::path(
    post, path = "/sandboxes/{id}/wake", operation_id = "wakeSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn wake(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Awake, "sandbox is awake").await
}

/// The same as sleep.
#[utoipa::path(
    post, path = "/sandboxes/{id}/stop", operation_id = "stopSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn stop(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Asleep, "sandbox is asleep").await
}

/// The same as sleep.
#[utoipa::path(
    post, path = "/sandboxes/{id}/pause", operation_id = "pauseSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn pause(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Asleep, "sandbox is asleep").await
}

/// The same as wake.
#[utoipa::path(
    post, path = "/sandboxes/{id}/resume", operation_id = "resumeSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn resume(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Awake, "sandbox is awake").await
}

/// Gives the processes of a sandbox no time. They keep their memory, and go on where they were when it is thawed.
#[utoipa::path(
    post, path = "/sandboxes/{id}/freeze", operation_id = "freezeSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn freeze(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Frozen, "sandbox is frozen").await
}

/// Gives the processes of a frozen sandbox time again.
#[utoipa::path(
    post, path = "/sandboxes/{id}/thaw", operation_id = "thawSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn thaw(call: Call, id: &str) -> ApiResult<Reply> {
    bring(call, id, Goal::Thawed, "sandbox is not frozen").await
}
