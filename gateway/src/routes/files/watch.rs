//! `POST /sandboxes/{id}/files/watch` and its WebSocket (contract §7.5). Events are collected from the POST on.

use super::parameters;
use crate::api::{Envelope, WatchRequest, WatchStarted, refusals};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::input::{self, Fields, Switch};
use crate::quota::Held;
use crate::reply::{self, Reply};
use crate::routes::Call;
use crate::server::Place;
use crate::service::files::watch::{self as service, Sight, Watch};
use crate::service::life::ready;
use crate::ws::{accept, line};
use bulkhead_protocol::files::{FileOperation, Hidden, Reach};
use hyper::StatusCode;
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;

/// Begins to collect what happens to files. The watch ends with its WebSocket, or after a minute without one.
#[utoipa::path(
    post, path = "/sandboxes/{id}/files/watch", operation_id = "startWatch", tag = "files",
    params(("id" = String, Path)),
    request_body = WatchRequest,
    responses(
        (status = 200, body = Envelope<WatchStarted>),
        refusals::Keyed, refusals::Bodied, refusals::Reached
    )
)]
pub(crate) async fn start(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let body = input::read(call.body, &call.app.bodies).await?;
    let mut fields = Fields::of_body(&body)?;
    let path = fields.text("path")?.ok_or_else(|| fields.refuse("path", "is required"))?;
    let path = parameters::named("path", path.into_bytes())?.text();
    let reach = match fields.switch("recursive", Switch::Off)? {
        Switch::On => Reach::Below,
        Switch::Off => Reach::Here,
    };
    let hidden = match fields.switch("ignoreHidden", Switch::On)? {
        Switch::On => Hidden::Skip,
        Switch::Off => Hidden::Show,
    };
    let visit = ready(&call.app, &sandbox).await?;
    let operation = FileOperation::Watch { path, reach, hidden };
    let watch = Watch::start(&call.app, visit, operation, call.held).await?;
    let session_id = service::keep(&call.app, watch, call.principal)?;
    Ok(reply::json(StatusCode::OK, &Envelope::new("watch started", WatchStarted { session_id })))
}

/// What happens to the files: one text message for each event (schema `FileChange`). Closed with 1000 when what is
/// watched, or the sandbox, is gone.
#[utoipa::path(
    get, path = "/sandboxes/{id}/files/watch/{sid}/stream", operation_id = "streamWatchEvents", tag = "files",
    params(
        ("id" = String, Path), ("sid" = String, Path),
        ("apiKey" = Option<String>, Query, description = "In place of the header, for a browser.")
    ),
    responses(
        (status = 101, description = "WebSocket"),
        refusals::Keyed, refusals::Reached, refusals::Upgraded
    )
)]
pub(crate) async fn socket(call: Call, id: &str, sid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let accepted = accept(call.version, &call.headers)?;
    let place = call.place.ok_or_else(|| ApiError::internal("a connection without a place"))?;
    let watch = call.app.watches.take(&sandbox.facts.id, sid);
    let watch = watch.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, "watch not found"))?;
    tokio::spawn(Line { app: call.app, watch, place, held: call.held }.serve(call.upgrade));
    Ok(accepted.reply())
}

/// What a socket needs once its handshake is answered.
struct Line {
    app: Arc<App>,
    watch: Watch,
    place: Place,
    /// Of the organisation's quota.
    held: Arc<Vec<Held>>,
}

impl Line {
    async fn serve(self, upgrade: OnUpgrade) {
        let Self { app, watch, place, held } = self;
        line::serve(&app, upgrade, &place, |client| Sight::new(client, watch).run(line::end(&place))).await;
        drop(held);
    }
}
