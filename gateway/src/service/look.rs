//! Turns to look at a sandbox through the runtime: few at once, the organisations one after the other.

use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::fair::Turn;
use crate::limits;
use hyper::StatusCode;

/// Waits for a turn of this organisation, for a while.
pub(super) async fn turn(app: &App, org: &str) -> ApiResult<Turn> {
    let late = |_| {
        let text = "others are still looking at sandboxes; try again later";
        Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text))
    };
    tokio::time::timeout(limits::LOOK_PATIENCE, app.looks.turn(org)).await.unwrap_or_else(late)
}
