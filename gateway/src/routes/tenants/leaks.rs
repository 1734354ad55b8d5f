//! `GET /admin/leaks`: everything of this instance that nobody claims.

use crate::api::{Envelope, Leaks, refusals};
use crate::error::ApiResult;
use crate::reply::{self, Reply};
use crate::routes::Call;
use crate::service::leaks;
use hyper::StatusCode;

/// Lists what lies on the host under this instance's name and belongs to no sandbox that the server knows, and what
/// the server believes to have and the host has not. Needs the scope `admin`.
#[utoipa::path(
    get, path = "/admin/leaks", operation_id = "listLeaks", tag = "system",
    responses((status = 200, body = Envelope<Leaks>), refusals::Admitted, refusals::Crowded)
)]
pub(crate) async fn list(call: &Call) -> ApiResult<Reply> {
    let leaks = leaks::find(&call.app).await?;
    Ok(reply::json(StatusCode::OK, &Envelope::new("ok", Leaks { leaks })))
}
