//! What a sandbox uses, as the runtime reads it from the host's cgroup files and the quota of the disk. The agent is not
//! asked. `None` is what this host has no source for, or what could not be read.

use serde::{Deserialize, Serialize};

/// What one sandbox uses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Its memory; files in memory and buffers of sockets count.
    pub memory: Memory,
    /// Its time on processors.
    pub cpu: Cpu,
    /// Its processes and threads.
    pub pids: Pids,
    /// Its disk.
    pub disk: Disk,
    /// Processes that the kernel killed for want of memory, since its launch.
    pub oom_kills: Option<u64>,
    /// Executions and operations on files of which something lives.
    pub executions: Option<u64>,
}

/// Memory in bytes, with that of the agent, which has 24 MiB of its own in the limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Now.
    pub current: Option<u64>,
    /// Most at once, since its launch (Linux 5.19 where the v2 tree counts).
    pub peak: Option<u64>,
    /// Ceiling.
    pub limit: Option<u64>,
}

/// Time on processors in microseconds, since its launch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cpu {
    /// Used.
    pub usage_us: Option<u64>,
    /// Periods in which it had to wait for its ceiling.
    pub throttled_periods: Option<u64>,
    /// Time that it had to wait.
    pub throttled_us: Option<u64>,
}

/// Processes and threads, with the agent and its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pids {
    /// Now.
    pub current: Option<u64>,
    /// Ceiling.
    pub limit: Option<u64>,
}

/// Bytes of the disk, with metadata.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What was written in the last minute may be missing: it is counted when the volume commits it.
    pub used: Option<u64>,
    /// Ceiling.
    pub limit: Option<u64>,
}

/// What a runtime has done since it started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Launches that succeeded.
    pub launched: u64,
    /// Launches that failed.
    pub failed: u64,
    /// Agents that ended though nobody asked for it.
    pub died: u64,
    /// Launches refused for want of room.
    pub refused: u64,
    /// Where the time of launches went, at most [`MAX_STEPS`].
    pub steps: Vec<Step>,
}

/// Most rows of [`Counters::steps`].
pub const MAX_STEPS: usize = 16;

/// One step of all launches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its name: small letters and spaces.
    pub name: String,
    /// How often it was taken.
    pub count: u64,
    /// How long it took in all, in microseconds.
    pub sum_us: u64,
}
