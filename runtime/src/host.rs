//! What the host must have for the walls of sandboxes, and what it should have. The first list is that of `doctor`
//! *and* of every start: nothing is silently left out.

mod advice;
mod ids;
#[cfg(test)]
mod tests;

pub use advice::advice;

use crate::cgroup::Layout;
use crate::instance;
use bulkhead_sys::host::{Facts, Finding, kernel};
use std::path::Path;

/// Oldest kernel that launches are tested on.
const KERNEL: (u32, u32) = (6, 1);
/// Kinds of namespaces with the option of the kernel that brings them.
const NAMESPACES: [(&str, &str); 7] = [
    ("user", "CONFIG_USER_NS"),
    ("pid", "CONFIG_PID_NS"),
    ("net", "CONFIG_NET_NS"),
    ("mnt", "CONFIG_NAMESPACES"),
    ("cgroup", "CONFIG_CGROUPS"),
    ("ipc", "CONFIG_IPC_NS"),
    ("uts", "CONFIG_UTS_NS"),
];

/// Everything without which nothing starts.
#[must_use]
pub fn walls(facts: &dyn Facts) -> Vec<Finding> {
    let mut findings = vec![kernel_version(facts)];
    findings.extend(NAMESPACES.iter().map(|(kind, option)| namespace(facts, kind, option)));
    findings.push(user_namespaces(facts));
    findings.push(seccomp(facts));
    findings.push(programs_in_memory(facts));
    findings.push(cgroups(facts));
    findings.extend(ids::walls(facts));
    findings
}

/// The directories of an instance, of which nothing is made here: those that exist must be what they must be.
#[must_use]
pub fn directories(state_dir: &Path, run_dir: &Path, gateway_uid: u32) -> Vec<Finding> {
    let what = "directories";
    let bad: Vec<_> = instance::examine(state_dir, run_dir, gateway_uid)
        .into_iter()
        .map(|error| {
            let remedy = "give it to its owner and take the right to write from others, or choose another";
            Finding::missing(what, crate::error::chain(&error), remedy)
        })
        .collect();
    if bad.is_empty() {
        let found = format!("{} and {}", state_dir.display(), run_dir.display());
        return vec![Finding::fine(what, found)];
    }
    bad
}

fn kernel_version(facts: &dyn Facts) -> Finding {
    let found = facts.text("/proc/sys/kernel/osrelease").unwrap_or_default();
    let found = found.trim();
    if kernel(facts) >= KERNEL {
        return Finding::fine("kernel", found);
    }
    let (major, minor) = KERNEL;
    Finding::missing("kernel", found, format!("install Linux {major}.{minor} or later"))
}

fn namespace(facts: &dyn Facts, kind: &str, option: &str) -> Finding {
    let what = format!("{kind} namespaces");
    if facts.exists(&format!("/proc/self/ns/{kind}")) {
        return Finding::fine(&what, "yes");
    }
    Finding::missing(&what, "no", format!("use a kernel with {option}=y, and mount /proc"))
}

/// A distribution's own switch, and the kernel's count. Root is refused by the second alone.
fn user_namespaces(facts: &dyn Facts) -> Finding {
    let (what, path) = ("allowed user namespaces", "/proc/sys/user/max_user_namespaces");
    match facts.number(path) {
        Some(0) => Finding::missing(what, "0", "sysctl -w user.max_user_namespaces=65536"),
        Some(most) => Finding::fine(what, most.to_string()),
        None => Finding::missing(what, "not readable", "use a kernel with CONFIG_USER_NS=y, and mount /proc"),
    }
}

fn seccomp(facts: &dyn Facts) -> Finding {
    let (what, path) = ("seccomp filters", "/proc/sys/kernel/seccomp/actions_avail");
    let found = facts.text(path).unwrap_or_default();
    let has = |action: &str| found.split_whitespace().any(|word| word == action);
    if ["kill_process", "errno", "allow"].into_iter().all(has) {
        return Finding::fine(what, "yes");
    }
    Finding::missing(what, "no", "use a kernel with CONFIG_SECCOMP_FILTER=y")
}

/// The agent is executed from memory, so that there is no file of it to overwrite.
fn programs_in_memory(facts: &dyn Facts) -> Finding {
    let what = "vm.memfd_noexec";
    match facts.number("/proc/sys/vm/memfd_noexec") {
        Some(2) => {
            Finding::missing(what, "2: no program may be executed from memory", "sysctl -w vm.memfd_noexec=1")
        }
        Some(other) => Finding::fine(what, other.to_string()),
        None => Finding::fine(what, "not known to this kernel (before 6.3): memory can always be executed"),
    }
}

fn cgroups(facts: &dyn Facts) -> Finding {
    let what = "cgroups";
    match Layout::of_host(facts) {
        Ok(layout) => Finding::fine(what, layout),
        Err(error) => Finding::missing(
            what,
            error.to_string(),
            "mount the cgroup2 file system with its controllers, or boot with cgroup_enable=memory",
        ),
    }
}
