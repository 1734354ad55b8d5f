//! The two WebSockets of terminals (contract §6.2). Everything that can be refused is refused as ordinary HTTP,
//! with the agent's own answer before ours: after the 101 there is a terminal.

use super::shell;
use crate::agent_client::{Owner, Terminal};
use crate::api::refusals;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::input;
use crate::limits;
use crate::quota::Held;
use crate::registry::Visit;
use crate::reply::Reply;
use crate::routes::Call;
use crate::server::Place;
use crate::service::life::ready;
use crate::service::pty::bridge::{Bridge, Gaps};
use crate::service::pty::{self as service, Ephemeral};
use crate::ws::{accept, line};
use bulkhead_protocol::agent::{Hold, Size};
use hyper::upgrade::OnUpgrade;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

/// A terminal of one's own: it ends with the WebSocket.
///
/// Messages of the client are keystrokes, messages of the server are output. Nothing is left out: the program waits
/// for a client that is slow.
#[utoipa::path(
    get, path = "/sandboxes/{id}/pty", operation_id = "openPty", tag = "pty",
    params(
        ("id" = String, Path),
        ("apiKey" = Option<String>, Query, description = "In place of the header, for a browser.")
    ),
    responses(
        (status = 101, description = "WebSocket"),
        refusals::Keyed, refusals::Reached, refusals::Upgraded
    )
)]
pub(crate) async fn ephemeral(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let accepted = accept(call.version, &call.headers)?;
    let place = taken(call.place)?;
    let visit = ready(&call.app, &sandbox).await?;
    let size = Size { cols: limits::COLS_DEFAULT, rows: limits::ROWS_DEFAULT };
    let spec = shell(sandbox.facts.settings.surroundings(), size, Hold::Attached);
    let Ephemeral { owner, terminal, places: [first, second] } =
        service::ephemeral(&call.app, &visit, &spec).await?;
    let (owner, places) = (Some(owner), vec![first, second]);
    let line =
        Line { app: call.app, visit, place, terminal, owner, places, gaps: Gaps::Close, held: call.held };
    tokio::spawn(line.serve(call.upgrade));
    Ok(accepted.reply())
}

/// Attaches to a session: first what it has written, then what it writes. The session outlives the WebSocket.
///
/// Messages of the client are keystrokes, binary messages of the server are output. With `from` a text message
/// `{"gap":{"from":N,"to":M}}` tells of output that is no longer kept; without it a client that is too slow for
/// the output is closed with 1008, since it would not know what it missed.
#[utoipa::path(
    get, path = "/sandboxes/{id}/pty/sessions/{sid}", operation_id = "connectPtySession", tag = "pty",
    params(
        ("id" = String, Path), ("sid" = String, Path),
        ("apiKey" = Option<String>, Query, description = "In place of the header, for a browser."),
        ("from" = Option<u64>, Query, description = "Bytes of output that the client has.")
    ),
    responses(
        (status = 101, description = "WebSocket"),
        refusals::Keyed, refusals::Reached, refusals::Upgraded
    )
)]
pub(crate) async fn session(call: Call, id: &str, sid: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let accepted = accept(call.version, &call.headers)?;
    let place = taken(call.place)?;
    let from = from(&call.query)?;
    let visit = ready(&call.app, &sandbox).await?;
    // An execution of another kind may have this handle, but it is no session.
    let session = service::find(&call.app, &visit, sid).await?;
    let (gaps, from) = from.map_or((Gaps::Close, 0), |from| (Gaps::Tell, from));
    if from > session.offset {
        return Err(ApiError::field("from", "is behind the end of the output"));
    }
    let (agent_place, terminal) = service::attach(&call.app, &visit, session.handle, from).await?;
    let places = vec![agent_place];
    let line = Line { app: call.app, visit, place, terminal, owner: None, places, gaps, held: call.held };
    tokio::spawn(line.serve(call.upgrade));
    Ok(accepted.reply())
}

/// A connection that can become another has its place with it.
fn taken(place: Option<Place>) -> ApiResult<Place> {
    place.ok_or_else(|| ApiError::internal("a connection without a place"))
}

fn from(query: &str) -> ApiResult<Option<u64>> {
    let Some(text) = input::parameter(query, "from")? else { return Ok(None) };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let from = text.parse().ok().filter(|from| digits && *from <= limits::MAX_COUNT);
    from.map(Some).ok_or_else(|| ApiError::field("from", "must be a number of bytes"))
}

/// What a socket needs once its handshake is answered.
struct Line {
    app: Arc<App>,
    visit: Visit,
    place: Place,
    terminal: Terminal,
    owner: Option<Owner>,
    places: Vec<OwnedSemaphorePermit>,
    gaps: Gaps,
    /// Of the organisation's quota.
    held: Arc<Vec<Held>>,
}

impl Line {
    async fn serve(self, upgrade: OnUpgrade) {
        let Self { app, visit, place, terminal, owner, places, gaps, held } = self;
        line::serve(&app, upgrade, &place, |client| {
            Bridge::new(client, terminal, owner, gaps).run(&app, &visit, line::end(&place))
        })
        .await;
        drop((places, held));
    }
}

#[cfg(test)]
mod tests {
    use super::from;

    #[test]
    fn an_offset_is_a_plain_number() {
        assert_eq!(from("apiKey=x&from=17").unwrap(), Some(17));
        assert_eq!(from("apiKey=x").unwrap(), None);
        for text in ["from=", "from=-1", "from=+1", "from=1.0", "from=9007199254740993", "from=x"] {
            assert!(from(text).unwrap_err().message.starts_with("from: "), "{text}");
        }
    }
}
