//! What is said over the admin socket, both ways.

use crate::quota::Quota;
use serde::{Deserialize, Serialize};

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Org {
    /// Its id, as answers of the API name it.
    pub id: String,
    /// Its name, unique on this host.
    pub name: String,
}

/// A key that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewKey {
    /// Finds it in lists and ends it.
    pub id: String,
    /// The key itself; shown this once.
    pub key: String,
}

impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// What a new key shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyOrder {
    /// The organisation, by name or id.
    pub org: String,
    /// What the key is for.
    pub name: String,
    /// Words of scopes; none are all but `admin`.
    pub scopes: Vec<String>,
    /// Whether it may look at the host.
    pub admin: bool,
    /// Seconds until it ends by itself.
    pub expires_in_seconds: Option<u64>,
}

/// An organisation and what it may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OrgInfo {
    /// Its id.
    pub id: String,
    /// Its name, unique on this host.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// Its ceilings.
    pub quota: Quota,
}

/// A list of organisations.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orgs {
    pub(super) orgs: Vec<OrgInfo>,
}

/// Something that nobody claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leak {
    /// What it is.
    pub kind: String,
    /// What it is called.
    pub name: String,
}

/// A list of those.
#[derive(Debug, Deserialize)]
pub(super) struct Leaks {
    pub(super) leaks: Vec<Leak>,
}

/// A key without the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyInfo {
    /// Names the key.
    pub id: String,
    /// The organisation's id.
    pub org: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<String>,
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; `None` where it does not end by itself.
    pub expires_at: Option<String>,
    /// RFC 3339; `None` while it is not revoked.
    pub revoked_at: Option<String>,
    /// Whether its organisation has it switched on.
    pub is_active: bool,
}

/// A list of keys.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Keys {
    pub(super) keys: Vec<KeyInfo>,
}

/// Success without anything to tell.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Done {}

/// A refusal.
#[derive(Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) error: String,
}
