//! Limits of all processes together, in the words of the spec.

use super::built;
use crate::error::{Error, Result};
use bulkhead_protocol::Limits;
use bulkhead_protocol::agent::LEAVES;
use bulkhead_protocol::limits::{AGENT_MEMORY_BYTES, AGENT_PIDS};
use oci_spec::runtime::{
    LinuxCpuBuilder, LinuxHugepageLimit, LinuxHugepageLimitBuilder, LinuxMemoryBuilder, LinuxPidsBuilder,
    LinuxResources, LinuxResourcesBuilder,
};
use std::collections::HashMap;

/// Length of a period of cpu accounting in microseconds, the kernel's default.
const PERIOD_US: u64 = 100_000;

/// The limits of a sandbox; `huge_pages` are the sizes that can be bounded on this host.
pub(crate) fn of(limits: &Limits, huge_pages: &[String]) -> Result<LinuxResources> {
    let memory = signed(limits.memory_bytes + AGENT_MEMORY_BYTES)?;
    let memory = LinuxMemoryBuilder::default()
        .limit(memory)
        // Memory and swap together: there is no swap.
        .swap(memory)
        // On v1 the buffers of sockets are not part of memory: 115 MiB were seen outside of 64.
        .kernel_tcp(memory);
    let cpu = LinuxCpuBuilder::default()
        .quota(signed(u64::from(limits.cpu_millis) * PERIOD_US / 1000)?)
        .period(PERIOD_US);
    let pids = LinuxPidsBuilder::default().limit(i64::from(limits.pids) + i64::from(AGENT_PIDS));
    let resources = LinuxResourcesBuilder::default()
        .memory(built(memory.build())?)
        .cpu(built(cpu.build())?)
        .pids(built(pids.build())?)
        .hugepage_limits(huge_pages.iter().map(|size| no_huge_pages(size)).collect::<Result<Vec<_>>>()?)
        .unified(files());
    built(resources.build())
}

/// Files of the v2 tree: what the agent may make below its group, and no compressed swap.
fn files() -> HashMap<String, String> {
    let rows = [
        ("cgroup.max.depth", "1".to_owned()),
        ("cgroup.max.descendants", LEAVES.to_string()),
        ("memory.zswap.max", "0".to_owned()),
    ];
    rows.into_iter().map(|(file, value)| (file.to_owned(), value)).collect()
}

/// Huge pages come from a pool of the host's that no other limit counts: none for sandboxes.
fn no_huge_pages(size: &str) -> Result<LinuxHugepageLimit> {
    built(LinuxHugepageLimitBuilder::default().page_size(size).limit(0).build())
}

fn signed(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::Spec("a limit beyond 63 bits"))
}
