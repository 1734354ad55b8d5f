//! Limits as data: which file of which controller gets which text.

use super::layout::{HugePages, Kind};
use crate::error::{Error, Result};
use crate::spec::part;
use oci_spec::runtime::LinuxResources;
use std::collections::BTreeMap;

/// Bytes of a page.
const PAGE: u64 = 4096;
/// Microseconds of a period of cpu accounting in a new group of v1. Writing it makes the kernel walk all groups of the host.
const NEW_PERIOD_US: u64 = 100_000;

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
pub(super) fn of(resources: &LinuxResources, kind: Kind, huge_pages: Option<Kind>) -> Result<Vec<Knob>> {
    let text = |controller, file: &str, value| Knob { controller, file: file.to_owned(), value };
    let knob = |controller, file, value: i64| text(controller, file, value.to_string());
    let memory = part(resources.memory(), "linux.resources.memory")?;
    let limit = memory.limit().ok_or(Error::Spec("linux.resources.memory.limit"))?;
    let with_swap = memory.swap().ok_or(Error::Spec("linux.resources.memory.swap"))?;
    let sockets = memory.kernel_tcp().ok_or(Error::Spec("linux.resources.memory.kernelTCP"))?;
    let pids = part(resources.pids(), "linux.resources.pids")?.limit();
    let cpu = part(resources.cpu(), "linux.resources.cpu")?;
    let quota = cpu.quota().ok_or(Error::Spec("linux.resources.cpu.quota"))?;
    let period = cpu.period().ok_or(Error::Spec("linux.resources.cpu.period"))?;
    let files: BTreeMap<_, _> = part(resources.unified(), "linux.resources.unified")?.iter().collect();
    let of_v2 = |file: &str, value: &str| match file.split_once('.') {
        // Written by root before the directory is given to the agent.
        Some(("cgroup", _)) => Ok(Some(text("unified", file, value.to_owned()))),
        Some(("memory", _)) => Ok((kind == Kind::Unified).then(|| text("memory", file, value.to_owned()))),
        _ => Err(Error::Spec("a file of the v2 tree that nothing here writes")),
    };
    let mut out: Vec<_> = files
        .into_iter()
        .map(|(file, value)| of_v2(file, value))
        .filter_map(Result::transpose)
        .collect::<Result<_>>()?;
    if kind == Kind::Hybrid && period != NEW_PERIOD_US {
        out.push(text("cpu", "cpu.cfs_period_us", period.to_string()));
    }
    match kind {
        Kind::Unified => out.extend([
            knob("memory", "memory.max", limit),
            knob("memory", "memory.swap.max", with_swap - limit),
            knob("pids", "pids.max", pids),
            text("cpu", "cpu.max", format!("{quota} {period}")),
        ]),
        Kind::Hybrid => out.extend([
            knob("memory", "memory.limit_in_bytes", limit),
            knob("memory", "memory.memsw.limit_in_bytes", with_swap),
            knob("memory", "memory.kmem.tcp.limit_in_bytes", sockets),
            knob("pids", "pids.max", pids),
            knob("cpu", "cpu.cfs_quota_us", quota),
        ]),
    }
    for pages in part(resources.hugepage_limits(), "linux.resources.hugepageLimits")? {
        let file = match huge_pages {
            Some(Kind::Unified) => format!("hugetlb.{}.max", pages.page_size()),
            Some(Kind::Hybrid) => format!("hugetlb.{}.limit_in_bytes", pages.page_size()),
            None => return Err(Error::Spec("huge pages on a host that cannot bound them")),
        };
        out.push(text("hugetlb", &file, pages.limit().to_string()));
    }
    Ok(out)
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
    use crate::spec::tests::SMALL;
    use bulkhead_protocol::Limits;
    use expect_test::{Expect, expect};

    fn check(kind: Kind, expected: &Expect) {
        let limits = Limits { cpu_millis: 500, ..SMALL };
        let resources = crate::spec::resources(&limits, &["2MB".to_owned()]).unwrap();
        let text: Vec<_> = of(&resources, kind, Some(Kind::Unified))
            .unwrap()
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
                memory memory.zswap.max = 0
                memory memory.max = 92274688
                memory memory.swap.max = 0
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
    fn limits_that_the_spec_does_not_have_are_not_left_out() {
        let limits = Limits { cpu_millis: 500, ..SMALL };
        let good = || crate::spec::resources(&limits, &["2MB".to_owned()]).unwrap();
        let without: [fn(&mut LinuxResources); 5] = [
            |resources| {
                resources.set_memory(None);
            },
            |resources| {
                resources.set_cpu(None);
            },
            |resources| {
                resources.set_pids(None);
            },
            |resources| {
                resources.set_unified(None);
            },
            |resources| {
                resources.set_hugepage_limits(None);
            },
        ];
        for (number, change) in without.iter().enumerate() {
            let mut resources = good();
            change(&mut resources);
            assert!(of(&resources, Kind::Unified, Some(Kind::Unified)).is_err(), "{number}");
        }
        assert!(of(&good(), Kind::Unified, None).is_err(), "a bound of huge pages that cannot be set");
        let mut strange = good();
        strange.unified_mut().as_mut().unwrap().insert("io.max".to_owned(), "8:0 rbps=1".to_owned());
        assert!(of(&strange, Kind::Unified, Some(Kind::Unified)).is_err());
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
