//! Limits as data: which file of which controller gets which text.

use super::layout::{HugePages, Kind};
use bulkhead_protocol::Limits;
use bulkhead_protocol::agent::LEAVES;
use bulkhead_protocol::limits::{AGENT_MEMORY_BYTES, AGENT_PIDS};

/// Length of a period of cpu accounting in microseconds, the kernel's default.
const PERIOD_US: u64 = 100_000;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// What the processes of a group may have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Bytes of memory, page cache and the kernel's own for them included; no swap.
    pub(crate) memory_bytes: u64,
    /// Threads.
    pub(crate) tasks: u64,
}

/// One write to one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Knob {
    /// Which v1 hierarchy; on v2 there is but one directory.
    pub(crate) controller: &'static str,
    pub(crate) file: String,
    pub(crate) value: String,
}

impl Knob {
    #[cfg(test)]
    pub(crate) fn for_test(controller: &'static str, file: &str, value: &str) -> Self {
        Self { controller, file: file.to_owned(), value: value.to_owned() }
    }

    /// Whether kernels exist that lack the file and need no such limit: without swap accounting there is no swap
    /// to limit.
    pub(super) fn optional(&self) -> bool {
        matches!(self.file.as_str(), "memory.swap.max" | "memory.zswap.max" | "memory.memsw.limit_in_bytes")
    }
}

/// The writes that put these limits in force, in order.
pub(super) fn of(limits: &Limits, kind: Kind, huge_pages: &HugePages) -> Vec<Knob> {
    let text = |controller, file: &str, value| Knob { controller, file: file.to_owned(), value };
    let knob = |controller, file, value: u64| text(controller, file, value.to_string());
    let bounds = Bounds {
        memory_bytes: limits.memory_bytes + AGENT_MEMORY_BYTES,
        tasks: u64::from(limits.pids + AGENT_PIDS),
    };
    let quota = u64::from(limits.cpu_millis) * PERIOD_US / 1000;
    let leaves = u64::try_from(LEAVES).expect("small");
    let mut out = vec![
        // Written by root before the directory is given to the agent.
        knob("unified", "cgroup.max.depth", 1),
        knob("unified", "cgroup.max.descendants", leaves),
    ];
    out.extend(bounded(bounds, kind));
    match kind {
        Kind::Unified => out.push(text("cpu", "cpu.max", format!("{quota} {PERIOD_US}"))),
        Kind::Hybrid => {
            // The period is that of every new group; each write here makes the kernel walk all groups of the host.
            out.push(knob("cpu", "cpu.cfs_quota_us", quota));
        }
    }
    out.extend(without_huge_pages(huge_pages));
    out
}

/// The same for an import, in whose group nobody makes others.
pub(super) fn of_import(bounds: Bounds, kind: Kind, huge_pages: &HugePages) -> Vec<Knob> {
    let none = |file: &str| Knob { controller: "unified", file: file.to_owned(), value: "0".to_owned() };
    let mut out = vec![none("cgroup.max.depth"), none("cgroup.max.descendants")];
    out.extend(bounded(bounds, kind));
    out.extend(without_huge_pages(huge_pages));
    out
}

fn bounded(Bounds { memory_bytes: memory, tasks }: Bounds, kind: Kind) -> Vec<Knob> {
    let knob = |controller, file: &str, value: u64| Knob {
        controller,
        file: file.to_owned(),
        value: value.to_string(),
    };
    match kind {
        Kind::Unified => vec![
            knob("memory", "memory.max", memory),
            knob("memory", "memory.swap.max", 0),
            knob("memory", "memory.zswap.max", 0),
            knob("pids", "pids.max", tasks),
        ],
        Kind::Hybrid => vec![
            knob("memory", "memory.limit_in_bytes", memory),
            knob("memory", "memory.memsw.limit_in_bytes", memory),
            // On v1 the buffers of sockets are not part of memory: 115 MiB were seen outside of 64.
            knob("memory", "memory.kmem.tcp.limit_in_bytes", memory),
            knob("pids", "pids.max", tasks),
        ],
    }
}

/// Huge pages come from a pool of the host's that no other limit counts.
fn without_huge_pages(huge_pages: &HugePages) -> impl Iterator<Item = Knob> {
    huge_pages.sizes.iter().filter_map(|size| {
        let file = match huge_pages.tree? {
            Kind::Unified => format!("hugetlb.{size}.max"),
            Kind::Hybrid => format!("hugetlb.{size}.limit_in_bytes"),
        };
        Some(Knob { controller: "hugetlb", file, value: "0".to_owned() })
    })
}

impl Knob {
    /// Whether this text of the file says what was written: the kernel rounds bytes down to whole pages.
    pub(crate) fn reads(&self, text: &str) -> bool {
        let whole = |text: &str| text.parse::<u64>().map(|bytes| bytes / PAGE);
        let in_bytes = self.controller == "memory";
        text == self.value || in_bytes && whole(text).is_ok_and(|pages| Ok(pages) == whole(&self.value))
    }
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
        let huge_pages = HugePages { tree: Some(Kind::Unified), sizes: vec!["2MB".into()] };
        let text: Vec<_> = of(&limits, kind, &huge_pages)
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
                unified cgroup.max.descendants = 184
                memory memory.max = 92274688
                memory memory.swap.max = 0
                memory memory.zswap.max = 0
                pids pids.max = 64
                cpu cpu.max = 50000 100000
                hugetlb hugetlb.2MB.max = 0
            "#]],
        );
    }

    #[test]
    fn hybrid() {
        check(
            Kind::Hybrid,
            &expect![[r#"
                unified cgroup.max.depth = 1
                unified cgroup.max.descendants = 184
                memory memory.limit_in_bytes = 92274688
                memory memory.memsw.limit_in_bytes = 92274688
                memory memory.kmem.tcp.limit_in_bytes = 92274688
                pids pids.max = 64
                cpu cpu.cfs_quota_us = 50000
                hugetlb hugetlb.2MB.max = 0
            "#]],
        );
    }

    #[test]
    fn an_import_has_no_groups_below_it_and_all_of_the_processor() {
        let bounds = Bounds { memory_bytes: 64 << 20, tasks: 8 };
        let huge_pages = HugePages { tree: Some(Kind::Hybrid), sizes: vec!["2MB".into()] };
        let text = |kind| {
            let knobs = of_import(bounds, kind, &huge_pages);
            knobs.iter().map(|k| format!("{}={}", k.file, k.value)).collect::<Vec<_>>().join(" ")
        };
        expect![[r#"
            cgroup.max.depth=0 cgroup.max.descendants=0 memory.max=67108864 memory.swap.max=0 memory.zswap.max=0 pids.max=8 hugetlb.2MB.limit_in_bytes=0
            cgroup.max.depth=0 cgroup.max.descendants=0 memory.limit_in_bytes=67108864 memory.memsw.limit_in_bytes=67108864 memory.kmem.tcp.limit_in_bytes=67108864 pids.max=8 hugetlb.2MB.limit_in_bytes=0
        "#]]
        .assert_eq(&format!("{}\n{}\n", text(Kind::Unified), text(Kind::Hybrid)));
    }

    #[test]
    fn whole_pages_are_what_was_asked_for_and_nothing_else_is() {
        let knob = Knob { controller: "memory", file: "memory.max".into(), value: "8193".into() };
        assert!(knob.reads("8193") && knob.reads("8192"));
        assert!(!knob.reads("12288") && !knob.reads("max") && !knob.reads(""));
        let pids = Knob { controller: "pids", file: "pids.max".into(), value: "64".into() };
        assert!(pids.reads("64") && !pids.reads("65"));
    }
}
