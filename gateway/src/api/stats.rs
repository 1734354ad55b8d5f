//! What a sandbox uses, as clients see it.

use bulkhead_protocol::stats as wire;
use serde::Serialize;
use utoipa::ToSchema;

/// What a sandbox uses, read from the host's files; nothing in the sandbox was asked. `null` is what the host has no source
/// for; a sandbox that is asleep uses its disk alone. Readings may be 250 ms old.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Stats {
    memory: Memory,
    cpu: Cpu,
    pids: Pids,
    disk: Disk,
    /// Processes killed for want of memory since its launch.
    #[schema(required)]
    oom_kills: Option<u64>,
    /// Executions, detached ones too, and operations on files that are going on.
    #[schema(required)]
    executions: Option<u64>,
}

/// Memory; the agent's own 24 MiB are part of the limit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatsMemory)]
pub(crate) struct Memory {
    #[schema(required)]
    current_bytes: Option<u64>,
    #[schema(required)]
    peak_bytes: Option<u64>,
    #[schema(required)]
    limit_bytes: Option<u64>,
}

/// Time on processors since its launch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatsCpu)]
pub(crate) struct Cpu {
    #[schema(required)]
    usage_usec: Option<u64>,
    /// Periods in which it had to wait for its ceiling.
    #[schema(required)]
    throttled_periods: Option<u64>,
    #[schema(required)]
    throttled_usec: Option<u64>,
}

/// Processes and threads, the agent's own with them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatsPids)]
pub(crate) struct Pids {
    #[schema(required)]
    current: Option<u64>,
    #[schema(required)]
    limit: Option<u64>,
}

/// The disk with its metadata; what was written in the last minute may be missing.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = StatsDisk)]
pub(crate) struct Disk {
    #[schema(required)]
    used_bytes: Option<u64>,
    #[schema(required)]
    limit_bytes: Option<u64>,
}

impl From<wire::Stats> for Stats {
    fn from(stats: wire::Stats) -> Self {
        let wire::Stats { memory, cpu, pids, disk, oom_kills, executions } = stats;
        Self {
            memory: Memory {
                current_bytes: memory.current,
                peak_bytes: memory.peak,
                limit_bytes: memory.limit,
            },
            cpu: Cpu {
                usage_usec: cpu.usage_us,
                throttled_periods: cpu.throttled_periods,
                throttled_usec: cpu.throttled_us,
            },
            pids: Pids { current: pids.current, limit: pids.limit },
            disk: Disk { used_bytes: disk.used, limit_bytes: disk.limit },
            oom_kills,
            executions,
        }
    }
}
