//! `GET /events`: what happens in the caller's organisation.

use super::Call;
use crate::api::{NewsItem, refusals};
use crate::error::{ApiError, ApiResult};
use crate::input;
use crate::limits;
use crate::reply::{self, Reply};
use hyper::StatusCode;

/// Follows what happens to the sandboxes, images and keys of the caller's organisation, until the connection or the key
/// ends. The id of an event is the offset to go on from, also after the server was started again; events that are no
/// longer there are told as a `gap`. Of executions the ends of those are told that a connection held. Events of images are
/// told to keys with `images:read`, events of keys to those with `keys`; for others only their offsets pass.
#[utoipa::path(
    get, path = "/events", operation_id = "followEvents", tag = "events",
    params(
        ("from" = Option<u64>, Query, description = "Begins behind this event; without it, with the next."),
        ("Last-Event-ID" = Option<u64>, Header, description = "Counts where `from` is absent.")
    ),
    responses(
        (status = 200, body = NewsItem, content_type = "text/event-stream"),
        refusals::Keyed, refusals::Ruled
    )
)]
pub(crate) fn follow(call: &Call) -> ApiResult<Reply> {
    let from = input::offset(&call.query, &call.headers)?;
    let feed = call.app.news.of(&call.principal.org);
    let reader = feed.follow(from, call.principal.scopes).ok_or_else(|| {
        let text =
            format!("at most {} connections follow the events of an organisation", limits::NEWS_READERS);
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).of_limit("followers of events")
    })?;
    Ok(reply::news(reader, call.app.metrics.stream()))
}
