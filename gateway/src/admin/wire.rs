//! What is said over the admin socket, both ways.

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
    /// RFC 3339.
    pub created_at: String,
    /// RFC 3339; `None` while it is valid.
    pub revoked_at: Option<String>,
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
