//! Calls about one execution: `/v1/executions/{handle}/…`.

use super::{BODY_TIMEOUT, empty, frames, json, read_json, switching_to_frames, wants_frames};
use crate::body::Body;
use crate::execution::{Cannot, Entry, Executions, Output, Taken, Wants, attend, is_valid};
use bulkhead_protocol::agent::{EXECUTIONS_PATH, MAX_JSON, SignalRequest, Size};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::{Method, Request, Response, StatusCode, Uri};
use std::rc::Rc;

/// Signals that can be sent: those that are no real-time signals.
const SIGNALS: std::ops::RangeInclusive<u8> = 1..=31;

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Call {
    handle: u64,
    verb: Verb,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Output { from: u64 },
    End,
    Kill,
    Signal,
    Stdin(After),
    Size,
    Terminal { from: u64 },
}

/// What happens to an input after a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    StaysOpen,
    Close,
}

impl Call {
    /// Reads a request line; what is none is answered with this status.
    pub(super) fn parse(method: &Method, uri: &Uri) -> Result<Self, StatusCode> {
        let path = uri.path().strip_prefix(EXECUTIONS_PATH).and_then(|rest| rest.strip_prefix('/'));
        let (handle, verb) = path.and_then(|rest| rest.split_once('/')).ok_or(StatusCode::NOT_FOUND)?;
        let handle = number(handle).ok_or(StatusCode::NOT_FOUND)?;
        let query = uri.query();
        let verb = match (method, verb) {
            (&Method::GET, "output") => Verb::Output { from: from(query)? },
            (&Method::GET, "terminal") => Verb::Terminal { from: from(query)? },
            (&Method::GET, "end") => Verb::End,
            (&Method::POST, "kill") => Verb::Kill,
            (&Method::POST, "signal") => Verb::Signal,
            (&Method::POST, "size") => Verb::Size,
            (&Method::POST, "stdin") => Verb::Stdin(match query {
                None | Some("") => After::StaysOpen,
                Some("close") => After::Close,
                Some(_) => return Err(StatusCode::BAD_REQUEST),
            }),
            _ => return Err(StatusCode::NOT_FOUND),
        };
        Ok(Self { handle, verb })
    }
}

fn from(query: Option<&str>) -> Result<u64, StatusCode> {
    match query {
        None | Some("") => Ok(0),
        Some(query) => query.strip_prefix("from=").and_then(number).ok_or(StatusCode::BAD_REQUEST),
    }
}

/// Digits alone: `parse` would take a sign too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Answers it.
pub(super) async fn answer(
    call: Call,
    request: Request<Incoming>,
    executions: &Rc<Executions>,
) -> Response<Body> {
    let Some(entry) = executions.find(call.handle) else {
        pass_over(Limited::new(request.into_body(), MAX_JSON)).await;
        return empty(StatusCode::NOT_FOUND);
    };
    match call.verb {
        Verb::Output { from } if entry.about().is_detached() => read(&entry, Wants::Output, from),
        // It has one reader, who loses nothing.
        Verb::Output { .. } => empty(StatusCode::CONFLICT),
        Verb::End => read(&entry, Wants::End, 0),
        Verb::Kill => json(StatusCode::OK, &entry.kill().await),
        Verb::Signal => signal(request, &entry).await,
        Verb::Size => resize(request, &entry).await,
        Verb::Stdin(after) => write(request, &entry, after).await,
        Verb::Terminal { from } => terminal(request, entry, from, executions),
    }
}

fn read(entry: &Entry, wants: Wants, from: u64) -> Response<Body> {
    frames(Output::new(Rc::clone(&entry.link), wants, from))
}

async fn signal(request: Request<Incoming>, entry: &Entry) -> Response<Body> {
    match read_json::<SignalRequest>(request).await {
        Ok(asked) if SIGNALS.contains(&asked.signal) => match entry.signal(asked.signal) {
            Ok(Ok(())) => done(),
            Ok(Err(failure)) => json(StatusCode::UNPROCESSABLE_ENTITY, &failure),
            Err(Cannot) => empty(StatusCode::CONFLICT),
        },
        Ok(_) => empty(StatusCode::BAD_REQUEST),
        Err(error) => empty(error.status()),
    }
}

async fn resize(request: Request<Incoming>, entry: &Entry) -> Response<Body> {
    match read_json::<Size>(request).await {
        Ok(size) if is_valid(size) => match entry.resize(size) {
            Ok(()) => done(),
            Err(Cannot) => empty(StatusCode::CONFLICT),
        },
        Ok(_) => empty(StatusCode::BAD_REQUEST),
        Err(error) => empty(error.status()),
    }
}

fn done() -> Response<Body> {
    json(StatusCode::OK, &serde_json::Map::new())
}

/// Writes a body as it comes, so that no more of it is held than a connection's buffer.
async fn write(request: Request<Incoming>, entry: &Entry, after: After) -> Response<Body> {
    if request.body().size_hint().lower() > u64::try_from(MAX_JSON).unwrap_or(u64::MAX) {
        return empty(StatusCode::PAYLOAD_TOO_LARGE);
    }
    if !entry.takes_input() {
        pass_over(Limited::new(request.into_body(), MAX_JSON)).await;
        return empty(StatusCode::CONFLICT);
    }
    let mut body = Limited::new(request.into_body(), MAX_JSON);
    let mut writer = entry.input.writer().await;
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(bytes)) => {
                if writer.write(&bytes).await == Taken::NoMore {
                    pass_over(body).await;
                    break;
                }
            }
            // Trailers.
            Ok(Err(_)) => {}
            Err(error) if error.is::<LengthLimitError>() => return empty(StatusCode::PAYLOAD_TOO_LARGE),
            Err(_) => return empty(StatusCode::BAD_REQUEST),
        }
    }
    if after == After::Close {
        entry.input.close();
    }
    json(StatusCode::OK, &writer.taken())
}

/// Reads a body to nowhere: an answer before its end would be lost with the connection, which is closed with
/// unread bytes in it (unix(7): the peer gets `ECONNRESET`).
async fn pass_over(mut body: Limited<Incoming>) {
    let read = async { while let Some(Ok(_)) = body.frame().await {} };
    match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(()) | Err(_) => {}
    }
}

fn terminal(
    mut request: Request<Incoming>,
    entry: Rc<Entry>,
    from: u64,
    executions: &Executions,
) -> Response<Body> {
    if !entry.has_terminal() || !entry.takes_reader() {
        return empty(StatusCode::CONFLICT);
    }
    if !wants_frames(request.headers()) {
        return empty(StatusCode::UPGRADE_REQUIRED);
    }
    let Some(seat) = executions.take_seat() else { return empty(StatusCode::SERVICE_UNAVAILABLE) };
    // A reader from here on, so that no second one comes in between.
    let output = Output::new(Rc::clone(&entry.link), Wants::Screen, from);
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(attend(upgrade, entry, output, seat));
    switching_to_frames()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(method: Method, text: &str) -> Result<Call, u16> {
        Call::parse(&method, &text.parse().unwrap()).map_err(|status| status.as_u16())
    }

    #[test]
    fn a_call_is_what_the_table_says_and_nothing_else() {
        let call = |verb| Ok(Call { handle: 7, verb });
        assert_eq!(parsed(Method::GET, "/v1/executions/7/output"), call(Verb::Output { from: 0 }));
        assert_eq!(parsed(Method::GET, "/v1/executions/7/output?from=12"), call(Verb::Output { from: 12 }));
        assert_eq!(parsed(Method::POST, "/v1/executions/7/stdin?close"), call(Verb::Stdin(After::Close)));
        assert_eq!(parsed(Method::POST, "/v1/executions/7/kill"), call(Verb::Kill));
        for bad in
            ["/v1/executions/7/output?from=", "/v1/executions/7/output?from=-1", "/v1/executions/7/output?x"]
        {
            assert_eq!(parsed(Method::GET, bad), Err(400), "{bad}");
        }
        for bad in
            ["/v1/executions/", "/v1/executions/7", "/v1/executions/+7/end", "/v1/executions/7/kill", "/"]
        {
            assert_eq!(parsed(Method::GET, bad), Err(404), "{bad}");
        }
    }
}
