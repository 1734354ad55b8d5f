//! The agent's share of the walls that a weakened runtime takes away, see `runtime/src/weaken.rs`. Compiled with
//! the feature `weaken` alone: an agent that is shipped does not look at the variable.

use bulkhead_sys::call::process::CapSets;
use bulkhead_sys::op::{Op, Resource};

#[cfg(not(debug_assertions))]
compile_error!("the feature `weaken` is for tests: it is built with the dev profile only");

/// Set by the runtime, which has refused names that do not exist.
const VARIABLE: &str = "BULKHEAD_WEAKEN";

fn away(name: &str) -> bool {
    std::env::var(VARIABLE).is_ok_and(|names| names.split(',').any(|away| away == name))
}

/// What the agent keeps of the capabilities that it was launched with.
pub(crate) fn kept(capabilities: u64) -> u64 {
    if away("capability-drop") { u64::MAX } else { capabilities }
}

/// What tenant root has.
pub(crate) fn held(sets: CapSets) -> CapSets {
    match bulkhead_sys::call::process::capabilities() {
        Ok(own) if away("capability-drop") && sets.permitted != 0 => {
            CapSets { effective: own.permitted, permitted: own.permitted, inheritable: 0 }
        }
        _ => sets,
    }
}

/// The way of a command to its shell without the steps of walls that are away.
pub(crate) fn plan(mut ops: Vec<Op<'_>>) -> Vec<Op<'_>> {
    // Weakened or not, what the kernel ties to no_new_privs cannot stay without it.
    let new_privileges = away("no-new-privileges");
    let unfiltered = away("command-filter") || new_privileges;
    let (unlimited, dumps) = (away("process-limits"), away("core-limit"));
    ops.retain(|op| match op {
        Op::Filter(_) => !unfiltered,
        Op::NoNewPrivileges => !new_privileges,
        Op::Limit(Resource::RLIMIT_CORE, ..) => !dumps,
        Op::Limit(..) => !unlimited,
        _ => true,
    });
    ops
}
