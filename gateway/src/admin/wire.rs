//! What is said over the admin socket, both ways.

use crate::quota::Quota;
use serde::{Deserialize, Serialize, Serializer};

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

/// What becomes of one ceiling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ceiling {
    /// So many, and no more.
    Most(u64),
    /// None but the host's.
    Unbounded,
}

/// How [`Ceiling::Unbounded`] is written, here and at the host's command line.
pub const NO_CEILING: &str = "none";

impl Serialize for Ceiling {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Most(most) => serializer.serialize_u64(*most),
            Self::Unbounded => serializer.serialize_str(NO_CEILING),
        }
    }
}

/// Ceilings to set; what is absent stays as it is. The units are those of [`Quota`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaChange {
    /// Sandboxes, in whatever state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<Ceiling>,
    /// Thousandths of processors of all sandboxes that run or are frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<Ceiling>,
    /// MiB of memory of the same.
    #[serde(rename = "memoryMiB", skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<Ceiling>,
    /// Names of its own images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<Ceiling>,
    /// MiB of the files of those; what two images share counts for both.
    #[serde(rename = "imageMiB", skip_serializing_if = "Option::is_none")]
    pub image_mib: Option<Ceiling>,
    /// Executions that a connection to the server holds. Detached ones are bounded by their sandbox, 64 each, and so by
    /// the ceiling of sandboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executions: Option<Ceiling>,
    /// Streams of events, WebSockets and waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<Ceiling>,
    /// Bytes sent per second, over all connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<Ceiling>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<Ceiling>,
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
