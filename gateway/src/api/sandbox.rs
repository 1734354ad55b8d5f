//! The sandbox object and the request that makes one.

use crate::registry::{self, Health, Run, State};
use crate::sandbox::{AutoSleep, PortProtocol};
use bulkhead_protocol::limits::MIB;
use serde::Serialize;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

/// A sandbox.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sandbox {
    id: String,
    name: String,
    /// `name:tag`.
    image: String,
    /// Processors, rounded up.
    cpu: u64,
    /// Memory in MiB.
    mem: u64,
    /// Disk in MiB.
    #[serde(rename = "diskMB")]
    disk_mb: u64,
    #[schema(inline)]
    status: Status,
    /// RFC 3339.
    created_at: String,
    created_by: String,
    org_id: String,
    auto_sleep: bool,
    /// Seconds without use after which it sleeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    idle_timeout_seconds: Option<u32>,
    /// Seconds that it may exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ttl_seconds: Option<u32>,
    /// When it is deleted, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expires_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    region: Option<String>,
    publish_ports: Vec<u16>,
    ports: Vec<Port>,
    labels: BTreeMap<String, String>,
    limits: Limits,
}

/// Where a sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Running,
    Snapshotted,
    Error,
    Killed,
    Deleted,
}

impl Status {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Snapshotted => "snapshotted",
            Self::Error => "error",
            Self::Killed => "killed",
            Self::Deleted => "deleted",
        }
    }
}

/// The public word of a state.
pub(crate) fn status(state: State) -> Status {
    match state {
        State::Creating(_)
        | State::Running(Run { health: Health::Sound, .. })
        | State::Sleeping { .. }
        | State::Freezing(_) => Status::Running,
        State::Asleep { .. } | State::Waking { .. } | State::Frozen(_) | State::Thawing(_) => {
            Status::Snapshotted
        }
        State::Running(Run { health: Health::Faulty, .. }) | State::Failed { .. } => Status::Error,
        State::Killed { .. } => Status::Killed,
        State::Deleting => Status::Deleted,
    }
}

/// A port that shall be reachable.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Port {
    /// `http` or `tcp`.
    #[schema(value_type = String, pattern = "^(http|tcp)$")]
    pub(crate) protocol: PortProtocol,
    #[schema(minimum = 1)]
    pub(crate) port: u16,
}

/// The ceilings in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Limits {
    #[serde(rename = "memoryMiB")]
    memory_mib: u64,
    /// Processors; fractions count.
    cpus: f64,
    /// Processes and threads.
    pids: u32,
    /// Open files of one process.
    #[serde(rename = "openFiles")]
    open_files: u32,
    /// Disk, names and other metadata included.
    #[serde(rename = "diskMiB")]
    disk_mib: u64,
}

impl From<&registry::Sandbox> for Sandbox {
    fn from(sandbox: &registry::Sandbox) -> Self {
        let facts = &sandbox.facts;
        let settings = &facts.settings;
        let limits = settings.limits;
        let ports = &settings.ports;
        Self {
            id: facts.id.to_string(),
            name: facts.name.clone(),
            image: facts.image.clone(),
            cpu: u64::from(limits.cpu_millis.div_ceil(1000)),
            mem: limits.memory_bytes.div_ceil(MIB),
            disk_mb: limits.disk_bytes.div_ceil(MIB),
            status: status(sandbox.state()),
            created_at: instant(facts.created_us),
            created_by: facts.created_by.clone(),
            org_id: facts.org.clone(),
            auto_sleep: sandbox.auto_sleep() == AutoSleep::On,
            idle_timeout_seconds: settings.idle_timeout_s,
            ttl_seconds: settings.ttl_s,
            expires_at: settings.expires.as_ref().map(|end| instant(end.wall_us)),
            region: settings.region.clone(),
            publish_ports: ports.iter().map(|port| port.number).collect(),
            ports: ports.iter().map(|port| Port { protocol: port.protocol, port: port.number }).collect(),
            labels: settings.labels.clone(),
            limits: Limits {
                memory_mib: limits.memory_bytes.div_ceil(MIB),
                cpus: f64::from(limits.cpu_millis) / 1000.0,
                pids: limits.pids,
                open_files: limits.open_files,
                disk_mib: limits.disk_bytes.div_ceil(MIB),
            },
        }
    }
}

/// RFC 3339 of microseconds since 1970.
pub(crate) fn instant(us: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(us) * 1000);
    time.ok().and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_else(|| "1970-01-01T00:00:00Z".to_owned())
}

/// What to make.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct CreateRequest {
    /// A DNS name; need not be unique.
    #[schema(
        max_length = 253,
        pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    )]
    pub(crate) name: String,
    /// `name` or `name:tag`; `code` where absent.
    #[schema(max_length = 128)]
    pub(crate) image: Option<String>,
    /// Processors.
    #[schema(minimum = 1, maximum = 8, default = 1)]
    pub(crate) cpu: Option<u64>,
    /// Memory in MiB.
    #[schema(minimum = 1024, maximum = 16384, default = 1024)]
    pub(crate) mem: Option<u64>,
    /// Must be the key's organisation where it is not empty.
    pub(crate) org_id: Option<String>,
    /// Must be a user of the organisation where it is not empty.
    pub(crate) user_id: Option<String>,
    /// Whether to answer only once commands can run.
    #[schema(default = true)]
    pub(crate) sync: Option<bool>,
    /// Set for everything that runs in it.
    pub(crate) env_vars: Option<BTreeMap<String, String>>,
    /// Whether it rests after 60 s without use: it sleeps, or stands still where something runs in it.
    #[schema(default = false)]
    pub(crate) auto_sleep: Option<bool>,
    /// Seconds without use after which it rests, in place of those 60 and whatever `autoSleep` says.
    #[schema(minimum = 5, maximum = 604_800)]
    pub(crate) idle_timeout_seconds: Option<u32>,
    /// Seconds after which it is deleted.
    #[schema(minimum = 1, maximum = 31_536_000)]
    pub(crate) ttl_seconds: Option<u32>,
    #[schema(max_length = 64)]
    pub(crate) region: Option<String>,
    /// At most 5 pairs.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// At most 4, each once.
    #[schema(max_items = 4)]
    pub(crate) publish_ports: Option<Vec<u16>>,
    /// The same as `publishPorts`, with protocols.
    #[schema(max_items = 4)]
    pub(crate) ports: Option<Vec<Port>>,
    pub(crate) limits: Option<LimitsRequest>,
}

/// What to change.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct PatchRequest {
    auto_sleep: bool,
}

/// Ceilings beside and beyond `cpu` and `mem`.
#[derive(Debug, Default, ToSchema)]
pub(crate) struct LimitsRequest {
    #[schema(rename = "memoryMiB", minimum = 16, maximum = 1_048_576)]
    pub(crate) memory_mib: Option<u64>,
    /// Processors; fractions count.
    #[schema(minimum = 0.05, maximum = 1024)]
    pub(crate) cpus: Option<f64>,
    /// Processes and threads.
    #[schema(minimum = 8, maximum = 16384)]
    pub(crate) pids: Option<u32>,
    /// Open files of one process.
    #[schema(rename = "openFiles", minimum = 32, maximum = 16384)]
    pub(crate) open_files: Option<u32>,
    /// Disk, names and other metadata included.
    #[schema(rename = "diskMiB", minimum = 8, maximum = 1_048_576, default = 5120)]
    pub(crate) disk_mib: Option<u64>,
}
