//! What the gateway knows about a sandbox that never changes. Domain types: they go to the store, never to a
//! client (`api` has what clients see).

use crate::clock::Deadline;
use crate::quota::Share;
use bulkhead_protocol::image::{ImageDefaults, ImageId};
use bulkhead_protocol::limits::{DEFAULT_DISK_BYTES, DEFAULT_OPEN_FILES, DEFAULT_PIDS, MIB};
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
    /// Found when it is made.
    #[serde(default)]
    pub(crate) made_of: MadeOf,
    pub(crate) limits: Limits,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) ports: Vec<Port>,
    pub(crate) region: Option<String>,
    pub(crate) auto_sleep: AutoSleep,
    /// Seconds without use after which it sleeps, whatever `auto_sleep` says.
    #[serde(default)]
    pub(crate) idle_timeout_s: Option<u32>,
    /// Seconds that it may exist.
    #[serde(default)]
    pub(crate) ttl_s: Option<u32>,
    /// When these are over; set when it is made.
    #[serde(default)]
    pub(crate) expires: Option<Deadline>,
}

/// The image that a name meant when the sandbox was made, which it keeps whatever becomes of the name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MadeOf {
    pub(crate) id: ImageId,
    pub(crate) defaults: ImageDefaults,
}

impl Default for MadeOf {
    fn default() -> Self {
        Self { id: ImageId::host(), defaults: ImageDefaults::default() }
    }
}

/// What commands in a sandbox have where nobody says anything: of its image, and over that what its tenant gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    pub(crate) env: BTreeMap<String, String>,
    /// `None` is the home of the user.
    pub(crate) cwd: Option<String>,
    /// `None` is root.
    pub(crate) user: Option<String>,
}

impl Surroundings {
    /// Variables as an agent gets them.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        self.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// The ceilings of who asks for none: one processor and 1 GiB, as the SDKs say.
pub(crate) fn usual_limits() -> Limits {
    Limits {
        memory_bytes: crate::limits::MEM.start() * MIB,
        cpu_millis: 1000,
        pids: DEFAULT_PIDS,
        open_files: DEFAULT_OPEN_FILES,
        disk_bytes: DEFAULT_DISK_BYTES,
    }
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

impl Settings {
    /// What its commands have where a request says nothing.
    pub(crate) fn surroundings(&self) -> Surroundings {
        let ImageDefaults { env, working_dir, user } = self.made_of.defaults.clone();
        let mut env: BTreeMap<_, _> = env.into_iter().collect();
        env.extend(self.env.clone());
        Surroundings { env, cwd: working_dir, user }
    }

    /// What a sandbox with these settings takes of its organisation's quota.
    pub(crate) fn share(&self) -> Share {
        let Limits { memory_bytes, cpu_millis, .. } = self.limits;
        Share { cpu_millis: u64::from(cpu_millis), memory_bytes }
    }
}
