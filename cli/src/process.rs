//! What every half does to its own process.

use anyhow::Context;
use bulkhead_protocol::image::EXIT_NO_ROOM;
use caps::CapSet;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid};
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Exit status for "it will not work until somebody changes something" (EX_CONFIG of sysexits(3)): the supervisor
/// does not start such a half again.
pub(crate) const EXIT_CONFIG: u8 = 78;
/// Exit status of host commands when no server runs.
pub(crate) const EXIT_NO_SERVER: u8 = 3;

/// An error that the operator has to mend first.
#[derive(Debug)]
pub(crate) struct Refusal;

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused to start")
    }
}

/// No server is running.
#[derive(Debug)]
pub(crate) struct NoServer;

impl std::fmt::Display for NoServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no server is running")
    }
}

/// The disk is full.
#[derive(Debug)]
pub(crate) struct NoRoom;

impl std::fmt::Display for NoRoom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no room on the disk of the store")
    }
}

/// The exit status that an error stands for.
pub(crate) fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.downcast_ref::<Refusal>().is_some() {
        return ExitCode::from(EXIT_CONFIG);
    }
    if error.downcast_ref::<NoServer>().is_some() {
        return ExitCode::from(EXIT_NO_SERVER);
    }
    if error.downcast_ref::<NoRoom>().is_some() {
        return ExitCode::from(EXIT_NO_ROOM);
    }
    ExitCode::FAILURE
}

/// Takes every signal again: a child inherits what the supervisor or the runtime blocks for its own loop.
pub(crate) fn unblock_signals() -> anyhow::Result<()> {
    nix::sys::signal::SigSet::all().thread_unblock().context("unblock signals")
}

/// As many open files as the system lets this process have.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("getrlimit")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("setrlimit")
}

/// Into a network namespace with nothing in it.
pub(crate) fn leave_the_network() -> anyhow::Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNET).context("leave the network")
}

/// Number of the first descriptor that a service manager hands over (sd_listen_fds(3)).
const FIRST_INHERITED: i32 = 3;
/// So many sockets have a use here: the API's and that of the metrics.
const MOST_INHERITED: i32 = 2;

/// The listening sockets that a service manager made for this process (sd_listen_fds(3)): the API's first, then that of
/// the metrics. None where nobody did.
pub(crate) fn inherited_sockets() -> anyhow::Result<Vec<OwnedFd>> {
    let said = |name: &str| std::env::var(name).ok();
    if said("LISTEN_PID") != Some(std::process::id().to_string()) {
        return Ok(Vec::new());
    }
    let count: i32 = said("LISTEN_FDS").context("LISTEN_FDS")?.parse().context("LISTEN_FDS")?;
    anyhow::ensure!((0..=MOST_INHERITED).contains(&count), "LISTEN_FDS: at most {MOST_INHERITED} sockets");
    (FIRST_INHERITED..FIRST_INHERITED + count)
        .map(|number| bulkhead_sys::fd::inherited(number).context("take over a socket"))
        .collect()
}

/// From root to this user: no groups, no capabilities, no way back. Started as somebody else already (as a unit of
/// systemd), only the last steps are left.
pub(crate) fn give_up_privileges(uid: u32) -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        caps::clear(None, CapSet::Bounding).context("empty the bounding set")?;
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
        nix::unistd::setgroups(&[]).context("setgroups")?;
        nix::unistd::setresgid(gid, gid, gid).context("setresgid")?;
        nix::unistd::setresuid(uid, uid, uid).context("setresuid")?;
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).with_context(|| format!("empty the {set:?} set"))?;
    }
    nix::sys::prctl::set_no_new_privs().context("set no_new_privs")?;
    anyhow::ensure!(nix::unistd::setuid(Uid::from_raw(0)).is_err(), "root could be taken back");
    Ok(())
}

/// Ends with the supervisor. Called after the last change of credentials, which would undo it.
pub(crate) fn die_with(supervisor: Option<i32>) -> anyhow::Result<()> {
    let Some(pid) = supervisor else { return Ok(()) };
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("set the parent death signal")?;
    // It may have died before the line above.
    anyhow::ensure!(nix::unistd::getppid().as_raw() == pid, "the supervisor is gone");
    Ok(())
}
