//! The requests of an administrator.

use super::wire::{Done, KeyInfo, Keys, NO_CEILING, NewKey, Org, OrgInfo, Orgs};
use crate::api::{Leaks, instant};
use crate::app::App;
use crate::auth::{Order, Scope, Scopes};
use crate::error::{ApiError, ApiResult};
use crate::ids;
use crate::input::{self, Fields, Switch};
use crate::limits::{KEY_SECONDS, MAX_ADMIN_NAME, MAX_COUNT};
use crate::quota::Quota;
use crate::reply::{self, Reply};
use crate::server::Handler;
use crate::service::{keys, leaks};
use crate::store::{Owner, StoreError, now_us};
use hyper::body::Incoming;
use hyper::{Request, StatusCode};
use secrecy::ExposeSecret;
use serde_json::Value;
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
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let body = input::read(request.into_body(), &self.app.bodies).await?;
        let fields = Fields::of_body(&body)?;
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        match (method.as_str(), parts.as_slice()) {
            ("GET", ["orgs"]) => self.list_orgs().await,
            ("POST", ["orgs"]) => self.create_org(fields).await,
            ("POST", ["quota"]) => self.quota(fields).await,
            ("GET", ["keys"]) => self.list_keys().await,
            ("POST", ["keys"]) => self.create_key(fields).await,
            ("DELETE", ["keys", id]) => self.revoke_key(id).await,
            ("GET", ["leaks"]) => {
                let leaks = leaks::find(&self.app).await?;
                Ok(reply::json(StatusCode::OK, &Leaks { leaks }))
            }
            _ => Err(ApiError::new(StatusCode::NOT_FOUND, "no such route")),
        }
    }

    /// Tells the audit log what was done.
    fn done(&self, action: &str, object: &str) {
        self.app.audit.host(&self.app.metrics, action, object, StatusCode::OK.as_u16());
    }

    async fn list_orgs(&self) -> ApiResult<Reply> {
        let rows = self.app.store.orgs().await?;
        let orgs = rows.into_iter().map(|row| OrgInfo {
            quota: self.app.accounts.of(&row.id).quota(),
            id: row.id,
            name: row.name,
            created_at: instant(row.created_us),
        });
        Ok(reply::json(StatusCode::OK, &Orgs { orgs: orgs.collect() }))
    }

    async fn create_org(&self, mut fields: Fields) -> ApiResult<Reply> {
        let owner = new_owner(&name(&mut fields, "name")?)?;
        let org = Org { id: owner.org.clone(), name: owner.org_name.clone() };
        self.app.store.create_owner(owner, None).await.map_err(explain)?;
        self.done("org create", &org.id);
        Ok(reply::json(StatusCode::OK, &org))
    }

    /// Changes the ceilings that are named, where any is, and shows all.
    async fn quota(&self, mut fields: Fields) -> ApiResult<Reply> {
        let owner = self.app.store.owner(name(&mut fields, "org")?).await.map_err(explain)?;
        let account = self.app.accounts.of(&owner.org);
        let before = account.quota();
        let mut ceiling = |name, now: Option<u64>| ceiling(&mut fields, name, now);
        let after = Quota {
            sandboxes: ceiling("sandboxes", before.sandboxes)?,
            cpu_millis: ceiling("cpuMillis", before.cpu_millis)?,
            memory_mib: ceiling("memoryMiB", before.memory_mib)?,
            images: ceiling("images", before.images)?,
            image_mib: ceiling("imageMiB", before.image_mib)?,
            executions: ceiling("executions", before.executions)?,
            streams: ceiling("streams", before.streams)?,
            bytes_per_second: ceiling("bytesPerSecond", before.bytes_per_second)?,
            requests_per_second: ceiling("requestsPerSecond", before.requests_per_second)?,
        };
        if after != before {
            self.app.store.set_quota(owner.org.clone(), after).await?;
            account.set(after);
            self.done("org quota", &owner.org);
        }
        Ok(reply::json(StatusCode::OK, &after))
    }

    async fn create_key(&self, mut fields: Fields) -> ApiResult<Reply> {
        let owner = self.app.store.owner(name(&mut fields, "org")?).await.map_err(explain)?;
        let order = Order {
            name: name(&mut fields, "name")?,
            scopes: scopes(&mut fields)?,
            expires_us: fields
                .whole("expiresInSeconds", &KEY_SECONDS)?
                .and_then(|seconds| i64::try_from(seconds * 1_000_000).ok())
                .map(|time| now_us() + time),
        };
        let (row, plain) = self.app.keys.mint(&owner, order)?;
        let key = NewKey { id: row.id.clone(), key: plain.expose_secret().to_owned() };
        keys::insert(&self.app, row).await.map_err(explain)?;
        self.done("key create", &key.id);
        Ok(reply::json(StatusCode::OK, &key))
    }

    async fn list_keys(&self) -> ApiResult<Reply> {
        let rows = self.app.store.keys().await?;
        let rows = rows.into_iter().map(|row| KeyInfo {
            id: row.id,
            org: row.org,
            name: row.name,
            scopes: row.scopes.words().into_iter().map(str::to_owned).collect(),
            created_at: instant(row.created_us),
            expires_at: row.expires_us.map(instant),
            revoked_at: row.revoked_us.map(instant),
            is_active: row.is_active,
        });
        Ok(reply::json(StatusCode::OK, &Keys { keys: rows.collect() }))
    }

    async fn revoke_key(&self, id: &str) -> ApiResult<Reply> {
        keys::revoke(&self.app, id.to_owned()).await.map_err(explain)?;
        self.done("key revoke", id);
        Ok(reply::json(StatusCode::OK, &Done {}))
    }
}

/// One ceiling, where it is asked for; `now` stays otherwise.
fn ceiling(fields: &mut Fields, name: &str, now: Option<u64>) -> ApiResult<Option<u64>> {
    match fields.take(name) {
        None => Ok(now),
        Some(Value::String(word)) if word == NO_CEILING => Ok(None),
        Some(asked) => match asked.as_u64().filter(|most| *most <= MAX_COUNT) {
            Some(most) => Ok(Some(most)),
            None => {
                let rule = format_args!("must be an integer from 0 to {MAX_COUNT}, or \"{NO_CEILING}\"");
                Err(fields.refuse(name, rule))
            }
        },
    }
}

/// The scopes of a key that the operator makes; `admin` comes on top.
fn scopes(fields: &mut Fields) -> ApiResult<Scopes> {
    let admin = fields.switch("admin", Switch::Off)?;
    let items = fields.list("scopes")?.unwrap_or_default();
    let words: Option<Vec<_>> = items.iter().map(|item| item.as_str()).collect();
    let rule = "must be of *, sandboxes:read, sandboxes:write, exec and keys";
    let named = words.and_then(Scopes::parse).filter(|scopes| !scopes.has(Scope::Admin));
    let named = named.ok_or_else(|| fields.refuse("scopes", rule))?;
    let scopes = if named.is_empty() { Scopes::STAR } else { named };
    Ok(match admin {
        Switch::On => scopes.and(Scope::Admin),
        Switch::Off => scopes,
    })
}

/// An organisation with one user, under new ids.
pub(super) fn new_owner(name: &str) -> ApiResult<Owner> {
    let org = format!("org_{}", ids::characters::<16>()?);
    let user = format!("user_{}", ids::characters::<16>()?);
    Ok(Owner::new(org, name, user))
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
        StoreError::Full(what) => {
            ApiError::new(StatusCode::CONFLICT, format!("the organisation has as many {what} as it may"))
        }
        StoreError::Missing(what) => ApiError::new(StatusCode::NOT_FOUND, format!("there is no such {what}")),
        other => other.into(),
    }
}
