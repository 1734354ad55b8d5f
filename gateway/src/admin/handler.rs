//! The requests of an administrator.

use super::wire::{Done, KeyInfo, Keys, NewKey, Org};
use crate::api::instant;
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::input::{self, Fields};
use crate::limits::MAX_ADMIN_NAME;
use crate::reply::{self, Reply};
use crate::server::Handler;
use crate::store::{Owner, StoreError};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use secrecy::ExposeSecret;
use std::sync::Arc;

/// Answers an administrator.
#[derive(Debug, Clone)]
pub(super) struct Admin {
    app: Arc<App>,
}

impl Handler for Admin {
    async fn handle(&self, request: Request<Incoming>) -> Reply {
        self.dispatch(request).await.unwrap_or_else(|error| {
            if error.status.is_server_error() {
                tracing::warn!(causes = error.chain(), "a request of the administrator failed");
            }
            reply::refuse(&error)
        })
    }
}

impl Admin {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self { app }
    }

    async fn dispatch(&self, request: Request<Incoming>) -> ApiResult<Reply> {
        let path = request.uri().path().to_owned();
        let method = request.method().clone();
        let body = input::read(request.into_body(), &self.app.bodies).await?;
        let fields = Fields::of_body(&body)?;
        match (method.as_str(), path.as_str(), path.strip_prefix("/keys/")) {
            ("POST", "/orgs", _) => self.create_org(fields).await,
            ("POST", "/keys", _) => self.create_key(fields).await,
            ("GET", "/keys", _) => self.list_keys().await,
            ("DELETE", _, Some(id)) => self.revoke_key(id).await,
            _ => Err(ApiError::new(StatusCode::NOT_FOUND, "no such route")),
        }
    }

    async fn create_org(&self, mut fields: Fields) -> ApiResult<Reply> {
        let owner = new_owner(&name(&mut fields, "name")?)?;
        let org = Org { id: owner.org.clone(), name: owner.org_name.clone() };
        self.app.store.create_owner(owner, None).await.map_err(explain)?;
        Ok(reply::json(StatusCode::OK, &org))
    }

    async fn create_key(&self, mut fields: Fields) -> ApiResult<Reply> {
        let owner = self.app.store.owner(name(&mut fields, "org")?).await.map_err(explain)?;
        let (row, plain) = self.app.keys.mint(&owner, &name(&mut fields, "name")?)?;
        self.app.store.insert_key(row.clone()).await?;
        let key = NewKey { id: row.id.clone(), key: plain.expose_secret().to_owned() };
        self.app.keys.admit(row);
        Ok(reply::json(StatusCode::OK, &key))
    }

    async fn list_keys(&self) -> ApiResult<Reply> {
        let rows = self.app.store.keys().await?;
        let keys = rows.into_iter().map(|row| KeyInfo {
            id: row.id,
            org: row.org,
            name: row.name,
            created_at: instant(row.created_us),
            revoked_at: row.revoked_us.map(instant),
        });
        Ok(reply::json(StatusCode::OK, &Keys { keys: keys.collect() }))
    }

    async fn revoke_key(&self, id: &str) -> ApiResult<Reply> {
        self.app.store.revoke_key(id.to_owned()).await.map_err(explain)?;
        self.app.keys.revoke(id);
        Ok(reply::json(StatusCode::OK, &Done {}))
    }
}

/// An organisation with one user, under new ids.
pub(super) fn new_owner(name: &str) -> ApiResult<Owner> {
    let org = format!("org_{}", ids::characters::<16>()?);
    let user = format!("user_{}", ids::characters::<16>()?);
    Ok(Owner { org, org_name: name.to_owned(), user })
}

fn name(fields: &mut Fields, field: &str) -> ApiResult<String> {
    let text = fields.text(field)?.ok_or_else(|| fields.refuse(field, "is required"))?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'.' | b'_' | b'-');
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let good = bytes.len() <= MAX_ADMIN_NAME && edge(bytes.first()) && edge(bytes.last());
    if good && text.bytes().all(plain) {
        return Ok(text);
    }
    let rule = "must have from 1 to 100 letters, digits, spaces, ., _ and -, a letter or digit at both ends";
    Err(fields.refuse(field, rule))
}

fn explain(error: StoreError) -> ApiError {
    match error {
        StoreError::Exists => ApiError::new(StatusCode::CONFLICT, "an organisation of this name exists"),
        StoreError::Missing(what) => ApiError::new(StatusCode::NOT_FOUND, format!("there is no such {what}")),
        other => other.into(),
    }
}
