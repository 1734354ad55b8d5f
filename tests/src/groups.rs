//! The cgroup files of a sandbox, read from the host: what is really in force.

use crate::host::directories;
use crate::sandbox::Sandbox;
use bulkhead_protocol::limits::{AGENT_MEMORY_BYTES, AGENT_PIDS};
use std::fs;
use std::path::Path;

/// What the kernel enforces on one sandbox, the agent's share included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InForce {
    /// Bytes of memory.
    pub memory: u64,
    /// Tasks.
    pub pids: u64,
    /// Processors.
    pub cpus: f64,
}

impl InForce {
    /// What must be in force for these limits of a tenant.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "thousandths of a processor are exact in f64")]
    pub fn for_tenant(memory_mib: u64, pids: u64, cpu_millis: u64) -> Self {
        Self {
            memory: (memory_mib << 20) + AGENT_MEMORY_BYTES,
            pids: pids + u64::from(AGENT_PIDS),
            cpus: cpu_millis as f64 / 1000.0,
        }
    }

    /// Reads it back, from the unified tree or the old ones.
    ///
    /// # Panics
    /// When a limit is not there: what is not limited must not be attacked.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a period are exact in f64")]
    pub fn of(sandbox: &Sandbox<'_>) -> Self {
        let number = |names: &[&str]| -> u64 {
            let text = value(sandbox, names);
            text.parse().unwrap_or_else(|_| panic!("{names:?} of {} is {text:?}", sandbox.id()))
        };
        let cpus = match find(sandbox, "cpu.max") {
            Some(text) => {
                let (quota, period) = text.split_once(' ').expect("cpu.max has two numbers");
                quota.parse::<f64>().expect("a quota") / period.parse::<f64>().expect("a period")
            }
            None => number(&["cpu.cfs_quota_us"]) as f64 / number(&["cpu.cfs_period_us"]) as f64,
        };
        Self { memory: number(&["memory.max", "memory.limit_in_bytes"]), pids: number(&["pids.max"]), cpus }
    }
}

/// The first of these files that a group of the sandbox has, without the line end.
///
/// # Panics
/// When it has none.
#[must_use]
pub fn value(sandbox: &Sandbox<'_>, names: &[&str]) -> String {
    let found = names.iter().find_map(|name| find(sandbox, name));
    found.unwrap_or_else(|| panic!("no group of {} has one of {names:?}", sandbox.id()))
}

/// Writes to a file of the sandbox's own group, past the server: a test that breaks a wall sees who notices.
///
/// # Panics
/// When no group of it has the file.
pub fn break_limit(sandbox: &Sandbox<'_>, name: &str, value: &str) {
    let ends_with_id = format!("/{}", sandbox.id());
    let groups = directories(Path::new("/sys/fs/cgroup"), &|path| path.ends_with(&ends_with_id));
    let file = groups.iter().map(|group| Path::new(group).join(name)).find(|file| file.exists());
    let file = file.unwrap_or_else(|| panic!("no group of {} has {name}", sandbox.id()));
    fs::write(&file, value).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

fn find(sandbox: &Sandbox<'_>, name: &str) -> Option<String> {
    let ends_with_id = format!("/{}", sandbox.id());
    let groups = directories(Path::new("/sys/fs/cgroup"), &|path| path.ends_with(&ends_with_id));
    let text = groups.iter().find_map(|group| fs::read_to_string(Path::new(group).join(name)).ok())?;
    Some(text.trim().to_owned())
}
