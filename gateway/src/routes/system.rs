//! Routes that need no key: version, OpenAPI, health.

use crate::api::{Healthy, Protocols, Version, openapi, refusals};
use crate::app::App;
use crate::error::{ApiError, ApiResult, chain};
use crate::limits;
use crate::reply::{self, Reply, ReplyBody};
use bulkhead_protocol::agent::{AGENT_PROTOCOL, OLDEST_AGENT_PROTOCOL};
use bulkhead_protocol::runtime::RUNTIME_PROTOCOL;
use hyper::StatusCode;
use std::time::Instant;
use tokio::sync::Mutex;

/// What serves.
#[utoipa::path(
    get, path = "/version", operation_id = "getVersion", tag = "system", security(()),
    responses((status = 200, body = Version), refusals::Open)
)]
pub(crate) fn version() -> Reply {
    let version = Version {
        version: env!("CARGO_PKG_VERSION"),
        commit: option_env!("BULKHEAD_COMMIT").unwrap_or("unknown"),
        build_time: option_env!("BULKHEAD_BUILD_TIME").unwrap_or("unknown"),
        protocols: Protocols {
            agent: AGENT_PROTOCOL,
            oldest_agent: OLDEST_AGENT_PROTOCOL,
            runtime: RUNTIME_PROTOCOL,
        },
    };
    reply::json(StatusCode::OK, &version)
}

/// This document.
pub(crate) fn openapi() -> Reply {
    let text = ReplyBody::Whole(openapi::text().clone());
    reply::with(StatusCode::OK, reply::JSON, text)
}

/// The last answer of [`health`], kept for a moment.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Option<(Instant, Health)>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    Bad(&'static str),
}

/// Whether gateway, runtime and store work. Who asks meanwhile waits for the same answer.
pub(crate) async fn health(app: &App) -> ApiResult<Reply> {
    let mut pulse = app.pulse.0.lock().await;
    let fresh = (*pulse).filter(|(taken, _)| taken.elapsed() < limits::HEALTH_AGE);
    let health = match fresh {
        Some((_, health)) => health,
        None => examine(app).await,
    };
    *pulse = fresh.or_else(|| Some((Instant::now(), health)));
    match health {
        Health::Good => Ok(reply::json(StatusCode::OK, &Healthy { status: "ok" })),
        Health::Bad(what) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, what)),
    }
}

async fn examine(app: &App) -> Health {
    if app.disk.is_full() {
        return Health::Bad("the disk of the state directory is full");
    }
    let runtime = tokio::time::timeout(limits::RUNTIME_QUICK, app.runtime.hello());
    match runtime.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(error = chain(&error), "the runtime does not work");
            return Health::Bad("the runtime does not work");
        }
        Err(_) => return Health::Bad("the runtime does not answer"),
    }
    match app.store.check().await {
        Ok(()) => Health::Good,
        Err(error) => {
            tracing::debug!(error = chain(&error), "the store does not work");
            Health::Bad("the store does not work")
        }
    }
}
