//! Which refusals a route may answer, by what may refuse, and what each status means. A route names the groups
//! that stand in its way; the statuses are written once. Every route may answer what is said of a head too long.

use hyper::StatusCode;
use std::collections::BTreeMap;
use utoipa::openapi::{Components, Content, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::Refusal;

/// Status, name among the components, meaning.
const TABLE: &[(StatusCode, &str, &str)] = &[
    (StatusCode::BAD_REQUEST, "BadRequest", "A header, parameter or field is wrong; the error names it."),
    (StatusCode::UNAUTHORIZED, "Unauthorized", "The key is missing or not valid."),
    (StatusCode::FORBIDDEN, "Forbidden", "The key, or the origin of a browser, may not do this."),
    (StatusCode::NOT_FOUND, "NotFound", "There is no such object in the key's organisation."),
    (StatusCode::REQUEST_TIMEOUT, "RequestTimeout", "The body did not come in time."),
    (StatusCode::CONFLICT, "Conflict", "The object is not in a state for this."),
    (StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLarge", "The body is too long."),
    (
        StatusCode::URI_TOO_LONG,
        "UriTooLong",
        "The path and its query are too long. Said before a route is known: without a body.",
    ),
    (StatusCode::UPGRADE_REQUIRED, "UpgradeRequired", "This route speaks WebSocket, version 13."),
    (StatusCode::RANGE_NOT_SATISFIABLE, "RangeNotSatisfiable", "The file has no such range."),
    (
        StatusCode::TOO_MANY_REQUESTS,
        "TooManyRequests",
        "A quota of the organisation, or a limit of the sandbox, is reached.",
    ),
    (
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "RequestHeaderFieldsTooLarge",
        "The request line and the headers are too long together. Said before a route is known: without a body.",
    ),
    (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", "The server failed; its log has the cause."),
    (StatusCode::BAD_GATEWAY, "BadGateway", "The sandbox's agent failed."),
    (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", "There is no room, or the runtime is not there."),
    (
        StatusCode::INSUFFICIENT_STORAGE,
        "InsufficientStorage",
        "The sandbox's disk, or the server's, is full.",
    ),
    (StatusCode::GATEWAY_TIMEOUT, "GatewayTimeout", "The sandbox or the runtime did not answer in time."),
];

/// What the HTTP library says by itself of a head that it does not read to its end.
const UNREAD: [StatusCode; 2] = [StatusCode::URI_TOO_LONG, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE];

/// Adds what [`references`] refer to.
pub(super) fn define(components: &mut Components) {
    components.schemas.insert(Refusal::name().into_owned(), Refusal::schema());
    for (status, name, meaning) in TABLE {
        let mut response = ResponseBuilder::new().description(*meaning);
        if !UNREAD.contains(status) {
            let content = Content::new(Some(Ref::from_schema_name(Refusal::name())));
            response = response.content("application/json", content);
        }
        components.responses.insert((*name).to_owned(), response.build().into());
    }
}

fn references(statuses: &[StatusCode]) -> BTreeMap<String, RefOr<Response>> {
    let rows = TABLE.iter().filter(|(status, ..)| statuses.contains(status) || UNREAD.contains(status));
    rows.map(|(status, name, _)| (status.as_str().to_owned(), Ref::from_response_name(*name).into()))
        .collect()
}

/// Declares a group.
macro_rules! group {
    ($(#[$meaning:meta])* $name:ident = $($status:ident)+) => {
        $(#[$meaning])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                references(&[$(StatusCode::$status),+])
            }
        }
    };
}

group! {
    /// Every route: the shape of a request, and ourselves.
    Open = BAD_REQUEST INTERNAL_SERVER_ERROR
}
group! {
    /// Every route with a key.
    Keyed = BAD_REQUEST UNAUTHORIZED FORBIDDEN TOO_MANY_REQUESTS INTERNAL_SERVER_ERROR
}
group! {
    /// A route that needs a scope of its own.
    Admitted = BAD_REQUEST UNAUTHORIZED FORBIDDEN CONFLICT TOO_MANY_REQUESTS INTERNAL_SERVER_ERROR INSUFFICIENT_STORAGE
}
group! {
    /// A route that needs no key.
    Public = BAD_REQUEST NOT_FOUND TOO_MANY_REQUESTS INTERNAL_SERVER_ERROR INSUFFICIENT_STORAGE
}
group! {
    /// A route with a body.
    Bodied = REQUEST_TIMEOUT PAYLOAD_TOO_LARGE
}
group! {
    /// A route below an object.
    Owned = NOT_FOUND
}
group! {
    /// A route that asks the agent of a sandbox, which may have to be woken.
    Reached = NOT_FOUND CONFLICT TOO_MANY_REQUESTS BAD_GATEWAY SERVICE_UNAVAILABLE GATEWAY_TIMEOUT
}
group! {
    /// A route that needs a running sandbox.
    Living = CONFLICT
}
group! {
    /// A route that asks the runtime.
    Ruled = NOT_FOUND SERVICE_UNAVAILABLE GATEWAY_TIMEOUT
}
group! {
    /// A route that writes files.
    Stored = CONFLICT PAYLOAD_TOO_LARGE INSUFFICIENT_STORAGE
}
group! {
    /// A route that asks the runtime of no single object.
    Asked = SERVICE_UNAVAILABLE GATEWAY_TIMEOUT
}
group! {
    /// A route with ranges.
    Ranged = RANGE_NOT_SATISFIABLE
}
group! {
    /// A route with a number of users at once.
    Crowded = SERVICE_UNAVAILABLE
}
group! {
    /// A WebSocket.
    Upgraded = FORBIDDEN UPGRADE_REQUIRED
}
