//! What the stages of an import may do: nothing but read their source and the store's layers, and write to the
//! directory of their job, with the system calls of one short list.

use anyhow::Context;
use bulkhead_runtime::NEUTRAL;
use bulkhead_sys::call::process::install_filter;
use bulkhead_sys::seccomp::{Profile, compile};
use bulkhead_sys::userns::{self, Extent};
use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope,
};
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, rlim_t, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};
use std::os::fd::OwnedFd;

/// Memory of a stage in bytes: the window of a zstd decoder, what is kept of directories, and blocks on their way.
const MEMORY: rlim_t = 1 << 30;
/// Largest file in bytes.
const FILE: rlim_t = 64 << 30;
/// Open files: those of a layout, and directories on the way down a tree.
const FILES: rlim_t = 8192;
/// The newest rules that are asked for; an older kernel has some of them.
const RULES: ABI = ABI::V6;

/// What a stage may reach.
#[derive(Debug)]
pub(super) struct Reach {
    /// The directory of its job.
    pub(super) job: OwnedFd,
    /// The layers of the store.
    pub(super) layers: OwnedFd,
    /// The user namespace that says who its files belong to, see [`neutral_owners`].
    pub(super) owners: OwnedFd,
}

/// A user namespace in which nothing of the host has an owner: what its root makes belongs to the neutral range, and
/// files of the host are those of strangers.
pub(super) fn neutral_owners() -> anyhow::Result<OwnedFd> {
    let all = Extent { inside: 0, outside: NEUTRAL.base, count: NEUTRAL.count };
    userns::detached(&[all]).context("make a user namespace")
}

/// For who reads what a stranger wrote: layers of the store can be read.
pub(super) fn unpack(reach: Reach) -> anyhow::Result<()> {
    confine(reach, AccessFs::from_read(RULES))
}

/// For who makes hard links: the kernel wants both ends of one to have the same rights (landlock(7)).
pub(super) fn assemble(reach: Reach) -> anyhow::Result<()> {
    confine(reach, AccessFs::from_all(RULES))
}

/// The limits of single processes and the group of the import bound what it takes; the pid namespace it was born in is
/// its own.
fn confine(reach: Reach, on_layers: landlock::BitFlags<AccessFs>) -> anyhow::Result<()> {
    bound()?;
    crate::process::leave_the_network()?;
    become_root_of(reach.owners)?;
    nix::sys::prctl::set_no_new_privs().context("give up privileges for good")?;
    // After the last change of credentials, which undoes it. Who started us may be gone by now, and cannot be seen from
    // here; then the runtime ends the whole group.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("end with who started us")?;
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(RULES))?
        .handle_access(AccessNet::from_all(RULES))?
        .scope(Scope::from_all(RULES))?
        .create()?
        .add_rule(PathBeneath::new(reach.job, AccessFs::from_all(RULES)))?
        .add_rule(PathBeneath::new(reach.layers, on_layers))?;
    let status = rules.restrict_self().context("restrict the importer")?;
    if status.ruleset == RulesetStatus::NotEnforced {
        tracing::debug!("this kernel has no Landlock: the ids alone keep the importer in its place");
    }
    filter()
}

/// Last: nothing above is a call that it allows.
fn filter() -> anyhow::Result<()> {
    #[cfg(feature = "weaken")]
    if !bulkhead_runtime::weaken::importer_is_filtered() {
        return Ok(());
    }
    install_filter(&compile(Profile::Importer)).context("filter system calls")
}

/// 1 for core files, not 0: a helper that is a pipe would run all the same.
fn bound() -> anyhow::Result<()> {
    for (what, most) in [
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_FSIZE, FILE),
        (Resource::RLIMIT_NOFILE, FILES),
        (Resource::RLIMIT_CORE, 1),
    ] {
        setrlimit(what, most, most).with_context(|| format!("limit {what:?}"))?;
    }
    Ok(())
}

/// Root of this user namespace, and nobody outside of it.
fn become_root_of(namespace: OwnedFd) -> anyhow::Result<()> {
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWUSER).context("enter a user namespace")?;
    nix::unistd::setgroups(&[]).context("drop groups")?;
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    nix::unistd::setresgid(gid, gid, gid).context("become group 0 inside")?;
    nix::unistd::setresuid(uid, uid, uid).context("become user 0 inside")
}
