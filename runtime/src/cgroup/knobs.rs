//! Limits as data: which file of which controller gets which text.

use super::layout::Kind;
use bulkhead_protocol::Limits;
use bulkhead_protocol::agent::LEAVES;
use bulkhead_protocol::limits::{AGENT_MEMORY_BYTES, AGENT_PIDS};

/// Length of a period of cpu accounting in microseconds, the kernel's default.
const PERIOD_US: u64 = 100_000;

/// One write to one file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Knob {
    /// Which v1 hierarchy; on v2 there is but one directory.
    pub(crate) controller: &'static str,
    pub(super) file: &'static str,
    pub(super) value: String,
}

impl Knob {
    /// Whether kernels exist that lack the file and need no such limit: without swap accounting there is no swap
    /// to limit.
    pub(super) fn optional(&self) -> bool {
        matches!(self.file, "memory.swap.max" | "memory.zswap.max" | "memory.memsw.limit_in_bytes")
    }
}

/// The writes that put these limits in force, in order.
pub(super) fn of(limits: &Limits, kind: Kind) -> Vec<Knob> {
    let knob = |controller, file, value: u64| Knob { controller, file, value: value.to_string() };
    let memory = limits.memory_bytes + AGENT_MEMORY_BYTES;
    let pids = u64::from(limits.pids + AGENT_PIDS);
    let quota = u64::from(limits.cpu_millis) * PERIOD_US / 1000;
    let leaves = u64::try_from(LEAVES).expect("small");
    let mut out = vec![
        // Written by root before the directory is given to the agent.
        knob("unified", "cgroup.max.depth", 1),
        knob("unified", "cgroup.max.descendants", leaves),
    ];
    match kind {
        Kind::Unified => out.extend([
            knob("memory", "memory.max", memory),
            knob("memory", "memory.swap.max", 0),
            knob("memory", "memory.zswap.max", 0),
            knob("pids", "pids.max", pids),
            Knob { controller: "cpu", file: "cpu.max", value: format!("{quota} {PERIOD_US}") },
        ]),
        Kind::Hybrid => out.extend([
            knob("memory", "memory.limit_in_bytes", memory),
            knob("memory", "memory.memsw.limit_in_bytes", memory),
            // On v1 the buffers of sockets are not part of memory: 115 MiB were seen outside of 64.
            knob("memory", "memory.kmem.tcp.limit_in_bytes", memory),
            knob("pids", "pids.max", pids),
            knob("cpu", "cpu.cfs_period_us", PERIOD_US),
            knob("cpu", "cpu.cfs_quota_us", quota),
        ]),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(kind: Kind, expected: &Expect) {
        let limits = Limits {
            memory_bytes: 64 << 20,
            cpu_millis: 500,
            pids: 32,
            open_files: 1024,
            disk_bytes: 64 << 20,
        };
        let text: Vec<_> = of(&limits, kind)
            .iter()
            .map(|k| format!("{} {} = {}\n", k.controller, k.file, k.value))
            .collect();
        expected.assert_eq(&text.concat());
    }

    #[test]
    fn unified() {
        check(
            Kind::Unified,
            &expect![[r#"
                unified cgroup.max.depth = 1
                unified cgroup.max.descendants = 136
                memory memory.max = 92274688
                memory memory.swap.max = 0
                memory memory.zswap.max = 0
                pids pids.max = 64
                cpu cpu.max = 50000 100000
            "#]],
        );
    }

    #[test]
    fn hybrid() {
        check(
            Kind::Hybrid,
            &expect![[r#"
                unified cgroup.max.depth = 1
                unified cgroup.max.descendants = 136
                memory memory.limit_in_bytes = 92274688
                memory memory.memsw.limit_in_bytes = 92274688
                memory memory.kmem.tcp.limit_in_bytes = 92274688
                pids pids.max = 64
                cpu cpu.cfs_period_us = 100000
                cpu cpu.cfs_quota_us = 50000
            "#]],
        );
    }
}
