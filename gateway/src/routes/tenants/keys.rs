//! `/orgs/apikeys…`: the keys of one's own organisation. Another organisation's key is one that does not exist, and
//! nobody makes a key that may do more, or longer, than the key in their hand.

use crate::api::{ActivateRequest, Done, KeyRequest, KeyShown, NewKeyShown, Nothing, instant, refusals};
use crate::audit;
use crate::auth::{Order, Principal, Scope, Scopes};
use crate::error::{ApiError, ApiResult};
use crate::input::{self, Fields, Switch};
use crate::limits;
use crate::reply::{self, Reply};
use crate::routes::Call;
use crate::service::keys as service;
use crate::store::{Owner, StoreError, now_us};
use hyper::StatusCode;
use secrecy::ExposeSecret;

const MICROS: i64 = 1_000_000;

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "key not found")
}

fn explain(error: StoreError) -> ApiError {
    match error {
        StoreError::Missing(_) => not_found(),
        StoreError::Full(_) => {
            let text = format!("quota: at most {} keys", limits::MAX_KEYS);
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, text).of_limit("keys")
        }
        other => other.into(),
    }
}

/// Lists the keys of the organisation, newest first, without the keys themselves.
#[utoipa::path(
    get, path = "/orgs/apikeys", operation_id = "listApiKeys", tag = "organisations",
    responses((status = 200, body = Vec<KeyShown>), refusals::Admitted)
)]
pub(crate) fn list(call: &Call) -> Reply {
    let rows: Vec<_> = call.app.keys.of(&call.principal.org).iter().map(KeyShown::from).collect();
    reply::json(StatusCode::OK, &rows)
}

/// Makes a key; the answer is the only place that ever shows it.
#[utoipa::path(
    post, path = "/orgs/apikeys", operation_id = "generateApiKey", tag = "organisations",
    request_body = KeyRequest,
    responses((status = 200, body = NewKeyShown), refusals::Admitted, refusals::Bodied)
)]
pub(crate) async fn create(call: Call) -> ApiResult<Reply> {
    let Call { app, principal, body, .. } = call;
    let body = input::read(body, &app.bodies).await?;
    let (order, expires_in) = order(Fields::of_body(&body)?, &principal, now_us())?;
    let owner = Owner::new(principal.org, String::new(), principal.user);
    let (row, plain) = app.keys.mint(&owner, order)?;
    service::insert(&app, row.clone()).await.map_err(explain)?;
    let shown = NewKeyShown {
        plain_key: plain.expose_secret(),
        key_id: &row.id,
        key_name: &row.name,
        org_id: &row.org,
        created_at: instant(row.created_us),
        expires_in,
        scopes: row.scopes.words(),
    };
    let mut answer = reply::json(StatusCode::OK, &shown);
    answer.extensions_mut().insert(audit::Object(row.id));
    Ok(answer)
}

/// What a body asks for, as far as the key that asks may give it; and its time in words.
fn order(mut fields: Fields, giver: &Principal, now: i64) -> ApiResult<(Order, String)> {
    let name = fields.text("keyName")?.ok_or_else(|| fields.refuse("keyName", "is required"))?;
    let length = name.chars().count();
    if !(1..=limits::MAX_ADMIN_NAME).contains(&length) || name.chars().any(char::is_control) {
        let rule = format_args!("must have from 1 to {} characters, none of control", limits::MAX_ADMIN_NAME);
        return Err(fields.refuse("keyName", rule));
    }
    let scopes = scopes(&mut fields, giver)?;
    let seconds = fields.whole("expiresInSeconds", &limits::KEY_SECONDS)?;
    let asked = seconds.and_then(|seconds| i64::try_from(seconds).ok()).map(|seconds| now + seconds * MICROS);
    let expires_us = match (asked, giver.expires_us) {
        (Some(asked), Some(end)) if asked > end => {
            return Err(forbidden("expiresInSeconds: is longer than the key that asks is valid"));
        }
        (asked, end) => asked.or(end),
    };
    let words = match expires_us {
        Some(end) => format!("{} seconds", (end - now) / MICROS),
        None => "never".to_owned(),
    };
    Ok((Order { name, scopes, expires_us }, words))
}

fn scopes(fields: &mut Fields, giver: &Principal) -> ApiResult<Scopes> {
    let usual = giver.scopes.without(Scope::Admin);
    let Some(items) = fields.list("scopes")? else { return Ok(usual) };
    let words: Option<Vec<_>> = items.iter().map(|item| item.as_str()).collect();
    let scopes = words.and_then(Scopes::parse).filter(|scopes| !scopes.is_empty());
    let rule =
        "must be an array of *, sandboxes:read, sandboxes:write, exec, images:read, images:write and keys";
    let scopes = scopes.ok_or_else(|| fields.refuse("scopes", rule))?;
    if scopes.has(Scope::Admin) {
        return Err(forbidden("scopes: only the host's operator gives admin"));
    }
    if !scopes.within(giver.scopes) {
        return Err(forbidden("scopes: a key cannot give what it has not"));
    }
    Ok(scopes)
}

fn forbidden(text: &'static str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, text)
}

/// Deletes a key. What is open for it is closed within seconds.
#[utoipa::path(
    delete, path = "/orgs/apikeys/{keyId}", operation_id = "revokeApiKey", tag = "organisations",
    params(("keyId" = String, Path)),
    responses((status = 200, body = Done), refusals::Admitted, refusals::Owned)
)]
pub(crate) async fn delete(call: &Call, id: &str) -> ApiResult<Reply> {
    may_give(&call.principal, owned(call, id)?)?;
    let org = call.principal.org.clone();
    service::delete(&call.app, org, id.to_owned()).await.map_err(explain)?;
    Ok(reply::json(StatusCode::OK, &Done { status: "success", message: "key deleted" }))
}

/// Switches a key on or off. What is open for a key that is switched off is closed within seconds.
#[utoipa::path(
    post, path = "/orgs/apikeys/{keyId}/activate", operation_id = "activateApiKey", tag = "organisations",
    params(("keyId" = String, Path)),
    request_body = ActivateRequest,
    responses((status = 200, body = Done), refusals::Admitted, refusals::Owned, refusals::Bodied, refusals::Living)
)]
pub(crate) async fn activate(call: Call, id: &str) -> ApiResult<Reply> {
    let scopes = owned(&call, id)?;
    let Call { app, principal, body, .. } = call;
    let active = Fields::of_body(&input::read(body, &app.bodies).await?)?.needed_switch("isActive")?;
    if active == Switch::On {
        may_give(&principal, scopes)?;
    }
    let row = service::switch(&app, principal.org, id.to_owned(), active).await.map_err(explain)?;
    if row.revoked_us.is_some() {
        return Err(ApiError::new(StatusCode::CONFLICT, "the key was revoked for good"));
    }
    let message = match active {
        Switch::On => "key activated",
        Switch::Off => "key deactivated",
    };
    Ok(reply::json(StatusCode::OK, &Done { status: "success", message }))
}

/// Marks a key as used now.
#[utoipa::path(
    patch, path = "/orgs/apikeys/{keyId}/touch", operation_id = "touchApiKey", tag = "organisations",
    params(("keyId" = String, Path)),
    responses((status = 200, body = Nothing), refusals::Admitted, refusals::Owned)
)]
pub(crate) async fn touch(call: &Call, id: &str) -> ApiResult<Reply> {
    let _scopes = owned(call, id)?;
    let now = now_us();
    call.app.keys.touch(id, now);
    call.app.store.note_uses(vec![(id.to_owned(), now)]).await?;
    Ok(reply::json(StatusCode::OK, &Nothing { status: "success", message: "key touched", data: () }))
}

/// What the key may do, if it is one of the caller's organisation.
fn owned(call: &Call, id: &str) -> ApiResult<Scopes> {
    call.app.keys.scopes(&call.principal.org, id).ok_or_else(not_found)
}

/// Refuses who switches on or deletes a key that may do more than the one in their hand.
fn may_give(giver: &Principal, scopes: Scopes) -> ApiResult<()> {
    if scopes.within(giver.scopes) {
        Ok(())
    } else {
        Err(forbidden("this key lacks scopes that the other has"))
    }
}
