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

/// Bytes of memory that its processes have, page cache and kernel memory included.
///
/// # Panics
/// When no group says.
#[must_use]
pub fn memory_used(sandbox: &Sandbox<'_>) -> u64 {
    value(sandbox, &["memory.current", "memory.usage_in_bytes"]).parse().expect("a number of bytes")
}

/// Bytes of page cache that were brought in on its account, files in memory included.
///
/// # Panics
/// When no group says.
#[must_use]
pub fn page_cache(sandbox: &Sandbox<'_>) -> u64 {
    let text = value(sandbox, &["memory.stat"]);
    // The old tree tells that of the groups below apart.
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    field("total_cache ").or_else(|| field("file ")).unwrap_or_else(|| panic!("no page cache in {text}"))
}

/// Cpu time that its processes have used, in microseconds.
///
/// # Panics
/// When no group says.
#[must_use]
pub fn cpu_micros(sandbox: &Sandbox<'_>) -> u64 {
    // Both trees may have a `cpu.stat`; the unified one always says how much was used.
    let texts =
        groups(sandbox).into_iter().filter_map(|g| fs::read_to_string(Path::new(&g).join("cpu.stat")).ok());
    let used =
        texts.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok()));
    used.max().expect("the unified tree counts cpu time")
}

/// Writes to a file of the sandbox's groups, as an operator would.
///
/// # Panics
/// When no group of it has such a file or the kernel refuses.
pub fn set(sandbox: &Sandbox<'_>, name: &str, text: &str) {
    let file = groups(sandbox).into_iter().map(|group| Path::new(&group).join(name)).find(|f| f.exists());
    let file = file.unwrap_or_else(|| panic!("no group of {} has {name}", sandbox.id()));
    fs::write(&file, text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

fn groups(sandbox: &Sandbox<'_>) -> Vec<String> {
    let ends_with_id = format!("/{}", sandbox.id());
    directories(Path::new("/sys/fs/cgroup"), &|path| path.ends_with(&ends_with_id))
}

fn find(sandbox: &Sandbox<'_>, name: &str) -> Option<String> {
    let text =
        groups(sandbox).iter().find_map(|group| fs::read_to_string(Path::new(group).join(name)).ok())?;
    Some(text.trim().to_owned())
}
