//! What a fetch gives up before it says its first word.

use crate::process;
use anyhow::Context;
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    path_beneath_rules,
};
use nix::sys::resource::{Resource, setrlimit};
use std::path::Path;

/// Who fetches, where there is no user of that name. Not the gateway's: what comes from a registry shall not be able to
/// signal it.
const UID: u32 = 64_902;
const USER: &str = "bulkhead-fetch";
/// Open files: connections, and one blob.
const FILES: u64 = 64;
/// What says where a name is to be looked up.
const NAMES: [&str; 5] =
    ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"];

/// Who fetches.
pub(crate) fn usual_uid() -> anyhow::Result<u32> {
    let user = nix::unistd::User::from_name(USER).with_context(|| format!("look up user {USER}"))?;
    Ok(user.map_or(UID, |user| user.uid.as_raw()))
}

/// From whoever started us to somebody who may write below `dir` and read a few files of `/etc`.
pub(super) fn confine(parent: Option<i32>, dir: &Path) -> anyhow::Result<()> {
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, bulkhead_fetch::MAX_BYTES),
        (Resource::RLIMIT_NOFILE, FILES),
    ] {
        setrlimit(resource, most, most).context("setrlimit")?;
    }
    // Who unpacks it is another user, and gets this directory by descriptor.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    process::give_up_privileges(usual_uid()?)?;
    process::die_with(parent)?;
    nix::sys::prctl::set_dumpable(false).context("prctl")?;
    fence(dir).context("landlock")
}

/// No file but those above, no port of ours. A kernel without Landlock leaves the user and its lack of rights.
fn fence(dir: &Path) -> anyhow::Result<()> {
    let abi = ABI::V5;
    let rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(abi))?
        .handle_access(AccessNet::BindTcp)?
        .create()?
        .add_rules(path_beneath_rules([dir], AccessFs::from_all(abi)))?
        .add_rules(path_beneath_rules(NAMES, AccessFs::from_read(abi)))?;
    let status = rules.restrict_self()?;
    tracing::debug!(?status, "fenced in");
    Ok(())
}
