//! Routes that need no key: version, OpenAPI, health.

use crate::api::{Healthy, Version, openapi};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::reply::{self, Reply};
use hyper::StatusCode;

/// What serves.
#[utoipa::path(
    get, path = "/version", operation_id = "getVersion", tag = "system", security(()),
    responses((status = 200, body = Version))
)]
pub(crate) fn version() -> Reply {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("BULKHEAD_COMMIT").unwrap_or("unknown"),
        build_time: option_env!("BULKHEAD_BUILD_TIME").unwrap_or("unknown"),
    };
    reply::json(StatusCode::OK, &version)
}

/// This document.
pub(crate) fn openapi() -> Reply {
    reply::json(StatusCode::OK, openapi::document())
}

/// Whether gateway, runtime and store work.
pub(crate) async fn health(app: &App) -> ApiResult<Reply> {
    let unavailable = |text: &'static str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text);
    let runtime = tokio::time::timeout(limits::RUNTIME_QUICK, app.runtime.hello());
    match runtime.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Err(unavailable("the runtime does not work").because(error)),
        Err(late) => return Err(unavailable("the runtime does not answer").because(late)),
    }
    app.store.check().await.map_err(|error| unavailable("the store does not work").because(error))?;
    Ok(reply::json(StatusCode::OK, &Healthy { status: "ok" }))
}
