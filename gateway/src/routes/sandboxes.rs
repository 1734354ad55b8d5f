//! `/sandboxes` and `/sandboxes/{id}`: make, list, show, delete.

pub(crate) mod env;
mod labels;
pub(crate) mod lifecycle;
mod list;
mod order;
mod parse;

use super::Call;
use super::program::key_text;
use crate::api::{
    CreateRequest, Done, Envelope, Isolation, Meta, Page, PatchRequest, Sandbox, Stats, refusals,
};
use crate::audit::Object;
use crate::error::{ApiError, ApiResult};
use crate::input::{self, Fields};
use crate::reply::{self, Reply};
use crate::sandbox::AutoSleep;
use crate::service::{create as creation, destroy, isolation as walls, patch as changes, stats as readings};
use hyper::StatusCode;
use list::Filter;

/// Makes a sandbox.
#[utoipa::path(
    post, path = "/sandboxes", operation_id = "createSandbox", tag = "sandboxes",
    params(("Idempotency-Key" = Option<String>, Header, description = "The same request with the same key is answered with the same sandbox, for 24 hours.", min_length = 1, max_length = 255)),
    request_body = CreateRequest,
    responses(
        (status = 201, body = Envelope<Sandbox>),
        refusals::Keyed, refusals::Bodied, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn create(call: Call) -> ApiResult<Reply> {
    let Call { app, principal, body, headers, .. } = call;
    let key = key_text(&headers)?;
    let body = input::read(body, &app.bodies).await?;
    let request = parse::create(Fields::of_body(&body)?)?;
    drop(body);
    order::check_owner(&app.store, &principal, &request).await?;
    let order = order::check(request)?;
    let claim = key.map(|key| creation::claim(key, &order)).transpose()?;
    let sandbox = creation::create(&app, principal, order, claim).await?;
    let envelope = Envelope::new("sandbox created", Sandbox::from(&*sandbox));
    let mut answer = reply::json(StatusCode::CREATED, &envelope);
    answer.extensions_mut().insert(Object(sandbox.facts.id.to_string()));
    Ok(answer)
}

/// The body of a create, as far as it can be checked by itself.
#[cfg(feature = "fuzzing")]
pub(super) fn checked(bytes: &[u8]) -> ApiResult<creation::Order> {
    order::check(parse::create(Fields::of_body(bytes)?)?)
}

/// Lists the sandboxes of the key's organisation, newest first. Killed ones are left out.
#[utoipa::path(
    get, path = "/sandboxes", operation_id = "listSandboxes", tag = "sandboxes",
    params(
        ("page" = Option<u64>, Query, minimum = 1),
        ("limit" = Option<u64>, Query, minimum = 1, description = "Rows of a page; more than 100 are 100."),
        ("labels" = Option<String>, Query, description = "`key=value`, separated by commas; all must match.")
    ),
    responses(
        (status = 200, body = Page<Sandbox>),
        refusals::Keyed
    )
)]
pub(crate) fn list(call: &Call) -> ApiResult<Reply> {
    let filter = Filter::parse(&call.query)?;
    let listed = filter.apply(&call.app.registry, &call.principal.org);
    let total = u64::try_from(listed.total).unwrap_or(u64::MAX);
    let meta =
        Meta { page: filter.page, limit: filter.limit, total, total_pages: total.div_ceil(filter.limit) };
    let data = listed.rows.iter().map(|sandbox| Sandbox::from(&**sandbox)).collect();
    Ok(reply::json(StatusCode::OK, &Page { status: "success", message: "ok", data, meta }))
}

/// Shows a sandbox.
#[utoipa::path(
    get, path = "/sandboxes/{id}", operation_id = "getSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Sandbox>),
        refusals::Keyed, refusals::Owned
    )
)]
pub(crate) fn get(call: &Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    Ok(reply::json(StatusCode::OK, &Envelope::new("ok", Sandbox::from(&*sandbox))))
}

/// Changes a sandbox. It is not woken.
#[utoipa::path(
    patch, path = "/sandboxes/{id}", operation_id = "updateSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    request_body = PatchRequest,
    responses(
        (status = 200, body = Envelope<Sandbox>),
        refusals::Keyed, refusals::Bodied, refusals::Owned
    )
)]
pub(crate) async fn patch(call: Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let body = input::read(call.body, &call.app.bodies).await?;
    let mut fields = Fields::of_body(&body)?;
    let Some(wanted) = fields.take("autoSleep") else {
        // Another field first: what it is called helps more than what is missing.
        let name = fields.left().filter(|name| name != "autoSleep");
        return Err(match name {
            Some(name) => refuse(&name, "cannot be changed"),
            None => refuse("autoSleep", "is required"),
        });
    };
    let wanted = match wanted.as_bool() {
        Some(true) => AutoSleep::On,
        Some(false) => AutoSleep::Off,
        None => return Err(refuse("autoSleep", "must be true or false")),
    };
    if let Some(name) = fields.left() {
        return Err(refuse(&name, "cannot be changed"));
    }
    changes::auto_sleep(&call.app, &sandbox, wanted).await?;
    Ok(reply::json(StatusCode::OK, &Envelope::new("sandbox updated", Sandbox::from(&*sandbox))))
}

/// Says what is in force for a running sandbox, item by item: what must be, what is, and whether that holds. Read back
/// from the kernel; what cannot be read does not hold.
#[utoipa::path(
    get, path = "/sandboxes/{id}/isolation", operation_id = "getIsolation", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Isolation>),
        refusals::Keyed, refusals::Ruled, refusals::Living
    )
)]
pub(crate) async fn isolation(call: &Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let report = walls::inspect(&call.app, &sandbox).await?;
    Ok(reply::json(StatusCode::OK, &Envelope::new("ok", Isolation::from(&report))))
}

/// Says what a sandbox uses now and what it may use. It wakes nobody.
#[utoipa::path(
    get, path = "/sandboxes/{id}/stats", operation_id = "getStats", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Envelope<Stats>),
        refusals::Keyed, refusals::Ruled
    )
)]
pub(crate) async fn stats(call: &Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let stats = readings::read(&call.app, &sandbox).await?;
    Ok(reply::json(StatusCode::OK, &Envelope::new("ok", Stats::from(stats))))
}

/// Ends a sandbox: its processes are gone and its disk is out of reach when the answer comes.
#[utoipa::path(
    delete, path = "/sandboxes/{id}", operation_id = "deleteSandbox", tag = "sandboxes",
    params(("id" = String, Path)),
    responses(
        (status = 200, body = Done),
        refusals::Keyed, refusals::Ruled
    )
)]
pub(crate) async fn delete(call: &Call, id: &str) -> ApiResult<Reply> {
    let sandbox = call.sandbox(id)?;
    let id = sandbox.facts.id.clone();
    drop(sandbox);
    destroy::delete(&call.app, &call.principal.org, &id).await?;
    Ok(reply::json(StatusCode::OK, &Done { status: "success", message: "sandbox deleted" }))
}

/// The refusal of a field of a query or a body.
fn refuse(field: &str, rule: impl std::fmt::Display) -> ApiError {
    ApiError::field(field, rule)
}
