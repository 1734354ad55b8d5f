//! The agent, as the process that the spec describes.

use super::{built, capabilities};
use crate::error::Result;
use crate::ids::AGENT_ID;
use crate::record::Record;
use crate::rlimits::{self, Ceilings};
use bulkhead_protocol::agent::{DENIED_ENV, LAUNCH_ENV, MEMORY_ENV, OPEN_FILES_ENV, PROCESSORS_ENV};
use bulkhead_sys::caps;
use oci_spec::runtime::{LinuxCapabilitiesBuilder, Process, ProcessBuilder, UserBuilder};
use std::fmt::Display;

/// Score that makes an agent go before the host's own daemons when the host runs out of memory.
const OOM_SCORE: i32 = 300;
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is the same for every sandbox.
pub(super) fn constant() -> Result<Process> {
    let agent = || capabilities::set(caps::AGENT);
    let capabilities = LinuxCapabilitiesBuilder::default()
        .effective(agent()?)
        .permitted(agent()?)
        .inheritable(agent()?)
        // So that they survive the exec of a user other than root; the agent empties it at once.
        .ambient(agent()?)
        // A tenant's, for good: what the agent has beyond it is ambient, and no command gets it back.
        .bounding(capabilities::set(caps::TENANT)?);
    let user = UserBuilder::default().uid(AGENT_ID).gid(AGENT_ID).umask(0o022_u32);
    let process = ProcessBuilder::default()
        .terminal(false)
        .user(built(user.build())?)
        .args(vec!["bulkhead-agent".to_owned(), "serve".to_owned()])
        .cwd("/")
        .capabilities(built(capabilities.build())?)
        .no_new_privileges(true)
        .oom_score_adj(OOM_SCORE);
    built(process.build())
}

pub(super) fn environment(record: &Record, ceilings: Ceilings) -> Vec<String> {
    let open_files = rlimits::open_files(&record.limits, ceilings);
    vec![
        PATH.to_owned(),
        format!("{LAUNCH_ENV}={}", record.launch),
        format!("{OPEN_FILES_ENV}={open_files}"),
        format!("{MEMORY_ENV}={}", record.limits.memory_bytes),
        format!("{PROCESSORS_ENV}={}", list(&record.processors)),
        format!("{DENIED_ENV}={}", list(&record.denied)),
        #[cfg(feature = "weaken")]
        crate::weaken::variable(),
    ]
}

fn list(numbers: &[impl Display]) -> String {
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
