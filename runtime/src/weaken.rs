//! Takes single walls away, so that attack tests can show what each of them is for: an attack that fails against
//! the product must succeed here, or the test of it proves nothing.
//!
//! Compiled with the feature `weaken` alone, which no release has: an optimised build refuses it below. What is
//! taken away is named in one environment variable, read once at start. The order of isolation is data, and so are
//! limits; a wall is taken away by editing that data, and the code that builds walls knows nothing of it.
//!
//! Walls without a switch, because a sandbox without them is a danger to the host that runs the tests:
//!
//! | wall | what its absence would give away |
//! | --- | --- |
//! | host id 0 is never mapped | `core_pattern`, and with it root on the host |
//! | the host's tree is left (`pivot_root`) | every file of the host that others may read |
//! | no network but its own | the host's loopback and whatever listens there |
//! | no device nodes, `nodev` | nothing: the kernel lets no user namespace make a node that opens |
//! | the agent's cgroup handle is detached | groups of others |

use crate::cgroup::Knob;
use bulkhead_sys::call::exec::namespace;
use bulkhead_sys::call::mount::attr;
use bulkhead_sys::call::process::CapSets;
use bulkhead_sys::op::{Op, Resource};
use bulkhead_sys::report::Process;
use std::ffi::CStr;
use std::sync::OnceLock;

#[cfg(not(debug_assertions))]
compile_error!("the feature `weaken` is for tests: it is built with the dev profile only");

/// Which walls are away: names with commas between.
const VARIABLE: &str = "BULKHEAD_WEAKEN";
/// Every capability of Linux 6.18, `CAP_LAST_CAP` is 40.
const EVERY_CAPABILITY: u64 = (1 << 41) - 1;
/// What lies over the hidden files and directories of `/proc`.
const MASKS: [&CStr; 2] = [c"dev/null", c"sys/host/empty"];
/// The size of a disk without a limit: more than any test writes.
const ENDLESS_DISK: u64 = 1 << 40;

/// One wall, or one layer of it, that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Switch {
    /// The filters over system calls, of the agent and of commands. The inner init keeps its own.
    CommandFilter,
    /// The bounds of what the kernel counts per user namespace: nested namespaces, watches.
    NamespaceLocks,
    /// What covers files and directories of `/proc`.
    ProcMasks,
    /// `/proc/sys` is read-only.
    ProcSysReadOnly,
    /// Tenant root has few capabilities. Without it: all, in its own user namespace.
    CapabilityDrop,
    /// `no_new_privs`. Takes [`Switch::CommandFilter`] along, which the kernel ties to it.
    NoNewPrivileges,
    /// Set-uid bits mean nothing in the memory file systems.
    NoSuid,
    /// The pid namespace of commands, in which there is no agent.
    InnerPids,
    /// The network namespace belongs to the initial user namespace.
    NetworkOwner,
    /// `memory.max` and its kin.
    MemoryLimit,
    /// `pids.max`.
    PidsLimit,
    /// `cpu.max`.
    CpuLimit,
    /// The quota of the disk.
    DiskLimit,
    /// The number of terminals.
    TerminalLimit,
    /// Bytes and files of the memory file systems.
    MemoryFilesLimit,
    /// Limits of single processes, but for core dumps.
    ProcessLimits,
    /// The limit that keeps core dumps away.
    CoreLimit,
    /// The filter over system calls of who unpacks an image.
    ImporterFilter,
}

/// Every switch with its name.
const NAMES: [(&str, Switch); 18] = [
    ("command-filter", Switch::CommandFilter),
    ("namespace-locks", Switch::NamespaceLocks),
    ("proc-masks", Switch::ProcMasks),
    ("proc-sys-read-only", Switch::ProcSysReadOnly),
    ("capability-drop", Switch::CapabilityDrop),
    ("no-new-privileges", Switch::NoNewPrivileges),
    ("no-suid", Switch::NoSuid),
    ("inner-pids", Switch::InnerPids),
    ("network-owner", Switch::NetworkOwner),
    ("memory-limit", Switch::MemoryLimit),
    ("pids-limit", Switch::PidsLimit),
    ("cpu-limit", Switch::CpuLimit),
    ("disk-limit", Switch::DiskLimit),
    ("terminal-limit", Switch::TerminalLimit),
    ("memory-files-limit", Switch::MemoryFilesLimit),
    ("process-limits", Switch::ProcessLimits),
    ("core-limit", Switch::CoreLimit),
    ("importer-filter", Switch::ImporterFilter),
];

/// What was read at start.
static AWAY: OnceLock<Vec<Switch>> = OnceLock::new();

/// A name in the variable that no wall has.
#[derive(Debug, thiserror::Error)]
#[error("{VARIABLE}: no wall is called {0:?}")]
pub struct Unknown(String);

/// Reads which walls are away. Once, before the first launch; what is not read stands.
///
/// # Errors
/// [`Unknown`].
pub fn read_environment() -> Result<(), Unknown> {
    let away = parse(&std::env::var(VARIABLE).unwrap_or_default())?;
    tracing::warn!(?away, "weakened: for tests only");
    AWAY.set(away).map_err(|_| Unknown("read twice".to_owned()))
}

fn parse(text: &str) -> Result<Vec<Switch>, Unknown> {
    let find = |name: &str| NAMES.iter().find(|(known, _)| *known == name).map(|(_, switch)| *switch);
    let names = text.split(',').filter(|name| !name.is_empty());
    let mut away: Vec<_> =
        names.map(|name| find(name).ok_or_else(|| Unknown(name.to_owned()))).collect::<Result<_, _>>()?;
    if away.contains(&Switch::NoNewPrivileges) {
        away.push(Switch::CommandFilter);
    }
    Ok(away)
}

fn away(switch: Switch) -> bool {
    AWAY.get().is_some_and(|away| away.contains(&switch))
}

/// The variable for an agent, which takes its own share away.
pub(crate) fn variable() -> String {
    let names: Vec<_> = NAMES.iter().filter(|(_, switch)| away(*switch)).map(|(name, _)| *name).collect();
    format!("{VARIABLE}={}", names.join(","))
}

/// The order of isolation without the steps of walls that are away.
pub(crate) fn steps(ops: Vec<Op<'_>>) -> Vec<Op<'_>> {
    ops.into_iter().filter_map(|op| step(op, Process::Child)).collect()
}

/// The namespaces of the first process.
pub(crate) fn namespaces(kinds: u64) -> u64 {
    // A network made together with the user namespace belongs to it.
    if away(Switch::NetworkOwner) { kinds | namespace::NET } else { kinds }
}

/// Whether who unpacks an image has its filter.
#[must_use]
pub fn importer_is_filtered() -> bool {
    !away(Switch::ImporterFilter)
}

/// The size of a disk.
pub(crate) fn disk_bytes(bytes: u64) -> u64 {
    if away(Switch::DiskLimit) { ENDLESS_DISK } else { bytes }
}

/// The limits of a group that are left.
pub(crate) fn knobs(mut knobs: Vec<Knob>) -> Vec<Knob> {
    let rows = [(Switch::MemoryLimit, "memory"), (Switch::PidsLimit, "pids"), (Switch::CpuLimit, "cpu")];
    for (_, controller) in rows.iter().filter(|(switch, _)| away(*switch)) {
        knobs.retain(|knob| knob.controller != *controller);
    }
    knobs
}

fn step(op: Op<'_>, process: Process) -> Option<Op<'_>> {
    use Switch as S;
    let every =
        CapSets { effective: EVERY_CAPABILITY, permitted: EVERY_CAPABILITY, inheritable: EVERY_CAPABILITY };
    match (process, op) {
        (Process::Child, Op::Filter(_)) if away(S::CommandFilter) => None,
        (Process::Child, Op::NoNewPrivileges) if away(S::NoNewPrivileges) => None,
        (Process::Child, Op::Unshare(namespace::PID)) if away(S::InnerPids) => None,
        (Process::Child, Op::SetCapabilities(_)) if away(S::CapabilityDrop) => {
            Some(Op::SetCapabilities(every))
        }
        (Process::Child, Op::SetAmbient(_)) if away(S::CapabilityDrop) => {
            Some(Op::SetAmbient(EVERY_CAPABILITY))
        }
        (Process::Child, Op::SetBoundingSet(_)) if away(S::CapabilityDrop) => None,
        (_, Op::Limit(Resource::RLIMIT_CORE, ..)) if away(S::CoreLimit) => None,
        (_, Op::Limit(resource, ..)) if resource != Resource::RLIMIT_CORE && away(S::ProcessLimits) => None,
        (_, Op::Bind { from, .. }) if MASKS.contains(&from.as_c_str()) && away(S::ProcMasks) => None,
        (_, Op::MakeReadOnly(_)) if away(S::ProcSysReadOnly) => None,
        (_, Op::WriteFile { path, .. })
            if path.as_bytes().starts_with(b"proc/sys/user/") && away(S::NamespaceLocks) =>
        {
            None
        }
        (_, Op::ForkInit(ops)) => {
            Some(Op::ForkInit(ops.into_iter().filter_map(|op| step(op, Process::Init)).collect()))
        }
        (_, op) => Some(mount(op)),
    }
}

/// File systems without their bounds.
fn mount(op: Op<'_>) -> Op<'_> {
    let Op::Mount { fstype, mut options, mut attributes, at } = op else { return op };
    let mut without = |switch: Switch, kind: &CStr, keys: &[&CStr]| {
        if fstype == kind && away(switch) {
            options.retain(|(key, _)| !keys.contains(key));
        }
    };
    without(Switch::TerminalLimit, c"devpts", &[c"max"]);
    without(Switch::MemoryFilesLimit, c"tmpfs", &[c"size", c"nr_inodes"]);
    if fstype == c"tmpfs" && away(Switch::NoSuid) {
        attributes &= !attr::NOSUID;
    }
    Op::Mount { fstype, options, attributes, at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_no_wall_has_is_refused() {
        assert_eq!(parse("command-filter,inner-pids").unwrap(), [Switch::CommandFilter, Switch::InnerPids]);
        assert_eq!(parse("").unwrap(), []);
        assert!(parse("command-filter,comand-filter").is_err());
    }

    #[test]
    fn what_the_kernel_ties_together_goes_together() {
        assert!(parse("no-new-privileges").unwrap().contains(&Switch::CommandFilter));
    }
}
