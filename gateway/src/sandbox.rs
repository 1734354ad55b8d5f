//! What the gateway knows about a sandbox that never changes. Domain types: they go to the store, never to a
//! client (`api` has what clients see).

use bulkhead_protocol::{Limits, SandboxId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A sandbox as its tenant asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) id: SandboxId,
    pub(crate) org: String,
    pub(crate) created_by: String,
    /// Microseconds since 1970.
    pub(crate) created_us: i64,
    pub(crate) name: String,
    /// As the runtime resolved it: `name:tag`.
    pub(crate) image: String,
    pub(crate) settings: Settings,
}

/// The part that the store keeps as one JSON text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) region: Option<String>,
    pub(crate) auto_sleep: AutoSleep,
}

/// Whether an idle sandbox may be put to sleep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AutoSleep {
    On,
    Off,
}

/// One port that shall be reachable from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Port {
    pub(crate) protocol: PortProtocol,
    pub(crate) number: u16,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PortProtocol {
    Http,
    Tcp,
}
