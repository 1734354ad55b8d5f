//! Organisations, users, keys and leaks as clients see them (contract §9).

use super::instant;
use crate::store::{KeyRow, UserRow};
use serde::Serialize;
use utoipa::ToSchema;

/// A key without the key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyShown {
    id: String,
    org_id: String,
    name: String,
    /// What it may do; `*` is everything but `admin`.
    scopes: Vec<&'static str>,
    /// The user who made it.
    created_by: String,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339; `null` where it was never used.
    last_used_at: Option<String>,
    is_active: bool,
    /// RFC 3339.
    updated_at: String,
    /// RFC 3339; absent where it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<String>,
}

impl From<&KeyRow> for KeyShown {
    fn from(row: &KeyRow) -> Self {
        Self {
            id: row.id.clone(),
            org_id: row.org.clone(),
            name: row.name.clone(),
            scopes: row.scopes.words(),
            created_by: row.user.clone(),
            created_at: instant(row.created_us),
            last_used_at: row.used_us.map(instant),
            is_active: row.is_active && row.revoked_us.is_none(),
            updated_at: instant(row.updated_us),
            expires_at: row.expires_us.map(instant),
        }
    }
}

/// Asks for a key.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schema(rename_all = "camelCase")]
pub(crate) struct KeyRequest {
    #[schema(min_length = 1, max_length = 100)]
    key_name: String,
    /// `*`, `sandboxes:read`, `sandboxes:write`, `exec`, `images:read`, `images:write`, `keys`; by default what the key has that asks, without `admin`.
    scopes: Option<Vec<String>>,
    /// By default it does not expire, or with the key that asks.
    #[schema(minimum = 1, maximum = 316_224_000)]
    expires_in_seconds: Option<u64>,
}

/// A new key.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NewKeyShown<'a> {
    /// The key; shown this once.
    pub(crate) plain_key: &'a str,
    pub(crate) key_id: &'a str,
    pub(crate) key_name: &'a str,
    pub(crate) org_id: &'a str,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// In words.
    pub(crate) expires_in: String,
    pub(crate) scopes: Vec<&'static str>,
}

/// Switches a key.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
#[schema(rename_all = "camelCase")]
pub(crate) struct ActivateRequest {
    /// Whether the key can be used from now on.
    is_active: bool,
}

/// A success with `data: null`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Nothing {
    /// Always `success`.
    pub(crate) status: &'static str,
    /// A word for people.
    pub(crate) message: &'static str,
    /// Always `null`.
    #[schema(value_type = Option<bool>)]
    pub(crate) data: (),
}

/// A user.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserShown {
    id: String,
    name: String,
    /// `null` where nobody gave one.
    email: Option<String>,
    /// Always empty.
    image_url: &'static str,
    /// RFC 3339.
    created_at: String,
}

impl From<&UserRow> for UserShown {
    fn from(row: &UserRow) -> Self {
        let UserRow { id, name, email, created_us } = row.clone();
        Self { id, name, email, image_url: "", created_at: instant(created_us) }
    }
}

/// An organisation's name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrgShown {
    pub(crate) id: String,
    pub(crate) name: String,
}

/// A user and where he belongs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    #[serde(flatten)]
    pub(crate) user: UserShown,
    pub(crate) orgs: Vec<OrgShown>,
}

/// Asks for an organisation.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct RegisterRequest {
    /// By default what stands before the `@`.
    #[schema(max_length = 100)]
    name: Option<String>,
    #[schema(min_length = 3, max_length = 254, pattern = "^[!-?A-~]+@[!-?A-~]+$")]
    email: String,
}

/// Who registered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonShown {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: Option<String>,
}

/// The first key of who registered.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyGiven {
    /// The key; shown this once.
    pub(crate) plain_key: String,
    pub(crate) key_id: String,
    pub(crate) key_name: String,
    pub(crate) org_id: String,
    /// RFC 3339.
    pub(crate) created_at: String,
    /// In words.
    pub(crate) expires_in: String,
}

/// What a registration made.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Registered {
    pub(crate) user: PersonShown,
    pub(crate) org: OrgShown,
    pub(crate) api_key: KeyGiven,
}

/// Something that nobody claims, or a claim to nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
pub(crate) struct LeakShown {
    /// `cgroup`, `process`, `ids`, `socket`, `mount`, `record`, `sandbox`, `disk`; `row` is a sandbox of ours without
    /// anything on the host.
    kind: &'static str,
    name: String,
}

impl LeakShown {
    pub(crate) fn new(kind: &'static str, name: String) -> Self {
        Self { kind, name }
    }
}

/// What leaks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Leaks {
    pub(crate) leaks: Vec<LeakShown>,
}
