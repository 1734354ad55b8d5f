//! The synchronous start: takes what the launch handed over and gives up what is not needed.
//!
//! Runs before there is a runtime or a request. Whatever fails here ends the agent: it never serves half set up.

use crate::execution::Rules;
use crate::vitals;
use bulkhead_protocol::agent;
use bulkhead_sys::call::process::{self, CapSets, Dumpable};
use bulkhead_sys::error::Context;
use bulkhead_sys::{caps, fd, seccomp};
use nix::sched::CpuSet;
use std::os::fd::OwnedFd;

/// What the agent itself uses while it serves: what it takes to become a command's user in a child. The rest of
/// [`caps::AGENT`] stays permitted for children and is in force for none of the agent's own calls.
const IN_FORCE: u64 = caps::SETUID | caps::SETGID;

/// Everything the agent got from its launch.
#[derive(Debug)]
pub(crate) struct Boot {
    /// Where the gateway connects.
    pub(crate) listener: OwnedFd,
    /// The sandbox's cgroup directory.
    pub(crate) cgroup: OwnedFd,
    /// The file with the sandbox's `oom_kill` line.
    pub(crate) oom: OwnedFd,
    /// The sandbox's counters of memory and what is made of them.
    pub(crate) vitals: vitals::Files,
    /// How often this sandbox was launched, from 1.
    pub(crate) launch: u64,
    /// What is the same for every command.
    pub(crate) rules: Rules,
}

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("take over what the launch prepared")]
    System(#[from] bulkhead_sys::Error),
    #[error("environment variable {0} is missing or no number")]
    Variable(&'static str),
    #[error("take over the listening socket")]
    Listener(#[source] std::io::Error),
    #[error("watch the inner init")]
    Init(#[source] std::io::Error),
}

/// First acts of the process.
pub(crate) fn take() -> Result<Boot, BootError> {
    // Before it reads anything: from here on /proc of this process belongs to nobody inside.
    process::set_dumpable(Dumpable::No).during("prctl", || "PR_SET_DUMPABLE".into())?;
    // Inherited descriptors first, while their numbers still mean what the protocol says.
    let listener = fd::inherited(agent::LISTEN_FD)?;
    let cgroup = fd::inherited(agent::CGROUP_FD)?;
    let oom = fd::inherited(agent::OOM_FD)?;
    let program = fd::inherited(agent::PROGRAM_FD)?;
    let vitals = vitals::Files {
        total: number(agent::MEMORY_ENV)?,
        usage: fd::inherited(agent::MEMORY_USAGE_FD)?,
        stat: fd::inherited(agent::MEMORY_STAT_FD)?,
        meminfo: fd::inherited(agent::MEMINFO_FD)?,
        current: fd::inherited(agent::MEMORY_CURRENT_FD)?,
    };
    give_up_capabilities()?;
    Ok(Boot {
        listener,
        cgroup,
        oom,
        vitals,
        launch: number(agent::LAUNCH_ENV)?,
        rules: Rules {
            open_files: number(agent::OPEN_FILES_ENV)?,
            processors: processors()?,
            program,
            filter: seccomp::compile_beyond(seccomp::Profile::Command, seccomp::Profile::Agent, &denied()?),
        },
    })
}

/// Inheritable and ambient sets empty (CVE-2022-24769: what is inheritable reaches commands), few in force.
fn give_up_capabilities() -> Result<(), bulkhead_sys::Error> {
    process::clear_ambient().during("prctl", || "PR_CAP_AMBIENT_CLEAR_ALL".into())?;
    let held = process::capabilities().during("capget", String::new)?;
    let kept = caps::AGENT;
    #[cfg(feature = "weaken")]
    let kept = crate::weaken::kept(kept);
    let permitted = held.permitted & kept;
    let kept = CapSets { permitted, effective: permitted & IN_FORCE, inheritable: 0 };
    process::set_capabilities(kept).during("capset", || format!("{kept:x?}"))
}

fn processors() -> Result<CpuSet, BootError> {
    let name = agent::PROCESSORS_ENV;
    let mut set = CpuSet::new();
    for number in std::env::var(name).unwrap_or_default().split(',') {
        let number = number.parse().map_err(|_| BootError::Variable(name))?;
        set.set(number).map_err(|_| BootError::Variable(name))?;
    }
    Ok(set)
}

fn denied() -> Result<Vec<u32>, BootError> {
    let name = agent::DENIED_ENV;
    let text = std::env::var(name).map_err(|_| BootError::Variable(name))?;
    let numbers = text.split(',').filter(|number| !number.is_empty());
    numbers.map(|number| number.parse().map_err(|_| BootError::Variable(name))).collect()
}

fn number(name: &'static str) -> Result<u64, BootError> {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).ok_or(BootError::Variable(name))
}
