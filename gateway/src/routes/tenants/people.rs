//! `/users/me` and `/orgs/users`: who may ask, and who belongs to the same organisation.

use crate::api::{Envelope, Me, OrgShown, UserShown, refusals};
use crate::error::{ApiError, ApiResult};
use crate::reply::{self, Reply};
use crate::routes::Call;
use hyper::StatusCode;

/// The user of the key.
#[utoipa::path(
    get, path = "/users/me", operation_id = "getCurrentUser", tag = "organisations",
    responses((status = 200, body = Me), refusals::Keyed)
)]
pub(crate) async fn me(call: &Call) -> ApiResult<Reply> {
    let (store, principal) = (&call.app.store, &call.principal);
    let owner = store.owner(principal.org.clone()).await?;
    let users = store.users(principal.org.clone()).await?;
    let user = users.iter().find(|user| user.id == principal.user);
    let user = user.ok_or_else(|| ApiError::internal("a key of a user who is not there"))?;
    let orgs = vec![OrgShown { id: owner.org, name: owner.org_name }];
    Ok(reply::json(StatusCode::OK, &Me { user: UserShown::from(user), orgs }))
}

/// The users of the key's organisation.
#[utoipa::path(
    get, path = "/orgs/users", operation_id = "getOrgUsers", tag = "organisations",
    responses((status = 200, body = Envelope<Vec<UserShown>>), refusals::Keyed)
)]
pub(crate) async fn users(call: &Call) -> ApiResult<Reply> {
    let users = call.app.store.users(call.principal.org.clone()).await?;
    let users: Vec<_> = users.iter().map(UserShown::from).collect();
    Ok(reply::json(StatusCode::OK, &Envelope::new("ok", users)))
}
