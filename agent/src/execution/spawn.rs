//! From a checked command to a running process in a leaf of its own, or a typed reason why not.
//!
//! A command gets less than the agent has: root's id with a tenant's capabilities or another id with none, no descriptor but standard
//! streams, a stricter filter. A setup that fails leaves no process and no leaf behind.

use super::leaf::Leaf;
use super::pump::Scratch;
use super::spec::{Command, Directory};
use super::streams::{self, Ends, Streams};
use super::user::Account;
use crate::watch::watch;
use bulkhead_protocol::agent::{StartFailure, StartFailureKind};
use bulkhead_sys::call::process::{CapSets, Dumpable, Ids};
use bulkhead_sys::op::{Missing, Op, Resource};
use bulkhead_sys::pidfd::{self, Exit};
use bulkhead_sys::spawn::{Child, Outcome};
use bulkhead_sys::{Error, caps};
use nix::errno::Errno;
use nix::sched::CpuSet;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long a setup may take: exec reads from a disk that a neighbour may keep busy, but not for ever.
const SETUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Commands go before the agent when memory runs out; a tenant can lower it again, and then loses its sandbox.
const OOM_SCORE: &[u8] = b"600";
/// Not 0: the kernel ignores a limit of 0 where core dumps go to a program, and takes 1 for "none".
const CORE_BYTES: u64 = 1;
const UMASK: u32 = 0o022;
const FIRST_PRIVATE_FD: i32 = 3;

/// What is the same for every command.
#[derive(Debug)]
pub(crate) struct Rules {
    /// `RLIMIT_NOFILE`.
    pub(crate) open_files: u64,
    /// What commands run on. Not the agent, which would stand in their way.
    pub(crate) processors: CpuSet,
    /// The agent's own program, which file workers run in.
    pub(crate) program: OwnedFd,
    /// What a command may not call beyond what the agent may not, whose filter stays on.
    pub(crate) filter: Vec<libc::sock_filter>,
}

/// What a process of the tenant's gets beside its user's rights.
#[derive(Debug)]
pub(crate) struct Outfit<'a> {
    pub(crate) account: Account,
    /// Puts its descriptors in place.
    pub(crate) descriptors: Vec<Op<'a>>,
    /// The first number that it does not get.
    pub(crate) first_private: i32,
    /// Its limits beside those that all have.
    pub(crate) limits: Vec<Op<'a>>,
    pub(crate) directory: Directory,
    /// Becomes its program.
    pub(crate) execute: Op<'a>,
}

/// What a command gets.
fn command_outfit<'a>(rules: &Rules, command: Command, ends: &'a Ends) -> Outfit<'a> {
    Outfit {
        account: command.account,
        descriptors: ends.ops(),
        first_private: FIRST_PRIVATE_FD,
        limits: vec![Op::Limit(Resource::RLIMIT_NOFILE, rules.open_files, rules.open_files)],
        directory: command.directory,
        execute: Op::ExecutePath { programs: command.programs, envp: command.environment },
    }
}

/// What a child does on its way to its program. The order is the point:
fn plan<'a>(rules: &'a Rules, outfit: Outfit<'a>) -> Vec<Op<'a>> {
    let account = outfit.account;
    let held = if account.uid == 0 { caps::TENANT } else { 0 };
    let sets = CapSets { effective: held, permitted: held, inheritable: 0 };
    #[cfg(feature = "weaken")]
    let sets = crate::weaken::held(sets);
    let adjust = Op::WriteFile {
        path: c"/proc/self/oom_score_adj".into(),
        bytes: OOM_SCORE.to_vec(),
        missing: Missing::IsFine,
    };
    // No terminal and no group of the agent's. Needs nothing, so it comes first.
    let mut ops = vec![Op::NewSession, Op::SetAffinity(rules.processors)];
    ops.extend(outfit.descriptors);
    ops.extend([
        // Its own /proc files are its own only while it is dumpable; and it is so only while it holds KILL and
        // SETPCAP, which no tenant has, so that no tenant may trace it. Hence before any credential changes.
        Op::SetDumpable(Dumpable::Yes),
        adjust,
        Op::SetDumpable(Dumpable::No),
    ]);
    ops.extend(outfit.limits);
    ops.extend([
        Op::Limit(Resource::RLIMIT_CORE, CORE_BYTES, CORE_BYTES),
        Op::SetUmask(UMASK),
        // After the last descriptor was placed: the agent's listener and cgroup end here. One inherited writable
        // cgroup.procs would pass every limit.
        Op::CloseOnExecFrom(outfit.first_private),
        // While SETUID and SETGID are in force; then the sets themselves, which take them away. An exec gives
        // root what is permitted *and* bounded, and the bounding set is a tenant's since the launch.
        Op::SetIds(Ids::all(account.uid), Ids::all(account.gid)),
        Op::SetGroups(account.groups),
        Op::SetCapabilities(sets),
        Op::SetAmbient(0),
        Op::ResetSignals,
        // With the tenant's rights, not the agent's.
        match outfit.directory {
            Directory::Given(path) => Op::ChangeDirectory(path),
            Directory::Home(path) => Op::EnterIfPresent(path),
        },
        // Set at launch already; the filter must not depend on that. It comes last, because it refuses much.
        Op::NoNewPrivileges,
        Op::Filter(&rules.filter),
        outfit.execute,
    ]);
    #[cfg(feature = "weaken")]
    let ops = crate::weaken::plan(ops);
    ops
}

/// A process whose end nobody else waits for.
#[derive(Debug)]
pub(crate) struct Main {
    process: AsyncFd<OwnedFd>,
    exit: Option<Exit>,
}

impl Main {
    fn new(process: OwnedFd) -> std::io::Result<Self> {
        Ok(Self { process: watch(process, Interest::READABLE)?, exit: None })
    }

    /// Waits for the end of the process, and reaps it; says the same again when it is asked again.
    ///
    /// # Errors
    /// As epoll_ctl(2) and waitid(2).
    pub(crate) async fn ended(&mut self) -> std::io::Result<Exit> {
        loop {
            if let Some(exit) = self.exit {
                return Ok(exit);
            }
            let mut guard = self.process.readable().await?;
            self.exit = pidfd::try_wait(self.process.get_ref().as_fd()).map_err(|error| error.errno)?;
            if self.exit.is_none() {
                guard.clear_ready();
            }
        }
    }
}

/// A running command.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) leaf: Leaf,
    pub(crate) main: Main,
    pub(crate) streams: Streams,
}

/// A child on its way. Dropped, for whatever reason, it is killed, reaped, and its leaf removed.
#[derive(Debug)]
struct Starting {
    leaf: Option<Leaf>,
    child: Option<Child>,
}

impl Drop for Starting {
    fn drop(&mut self) {
        let process = self.child.take().map(|child| child.pidfd);
        if let Some(leaf) = self.leaf.take() {
            tokio::task::spawn_local(bury(leaf, process));
        }
    }
}

/// Kills what is in a leaf, reaps the process if one is given, and removes the leaf.
async fn bury(leaf: Leaf, process: Option<OwnedFd>) {
    // Where the kill fails, the wait is still right: a child whose setup failed ends by itself.
    let killed = leaf.kill();
    if let Some(Ok(mut main)) = process.map(Main::new) {
        drop(main.ended().await);
    }
    drop(killed);
    leaf.retire().await;
}

/// Starts a command in this leaf; comes back when the shell runs.
pub(crate) async fn start(
    rules: &Rules,
    command: Command,
    leaf: Leaf,
    scratch: Scratch,
) -> Result<Running, StartFailure> {
    // First: until it is in a leaf that is guarded, nothing may fail without removing that.
    let guard = Starting { leaf: Some(leaf), child: None };
    let (streams, ends) = streams::make(command.stdio, command.account.uid, scratch)?;
    let ops = plan(rules, command_outfit(rules, command, &ends));
    let (leaf, main) = guard.execute(&ops).await?;
    Ok(Running { leaf, main, streams })
}

/// Starts what is no command in this leaf; comes back when it runs.
pub(crate) async fn start_outfit(
    rules: &Rules,
    outfit: Outfit<'_>,
    leaf: Leaf,
) -> Result<(Leaf, Main), StartFailure> {
    let ops = plan(rules, outfit);
    Starting { leaf: Some(leaf), child: None }.execute(&ops).await
}

impl Starting {
    async fn execute(mut self, ops: &[Op<'_>]) -> Result<(Leaf, Main), StartFailure> {
        let group = self.leaf.as_ref().map(Leaf::directory);
        let child = bulkhead_sys::spawn::spawn(ops, 0, group).map_err(|error| failure_of_call(&error))?;
        wait_for_report(self.child.insert(child)).await?;
        match self.child.take().map(Child::wait_for_exec) {
            Some(Ok(Outcome::Executed { pidfd, .. })) => {
                let main = Main::new(pidfd).map_err(|error| internal(error.raw_os_error()))?;
                let leaf = self.leaf.take().ok_or_else(|| internal(None))?;
                Ok((leaf, main))
            }
            Some(Ok(Outcome::Failed { failure, pidfd })) => {
                let op = ops.get(failure.index);
                let kind = op.map_or(StartFailureKind::Internal, |op| kind_of_step(op, failure.errno));
                if let Some(leaf) = self.leaf.take() {
                    // A task of its own: it is done even when nobody waits for this answer any more.
                    drop(tokio::task::spawn_local(bury(leaf, Some(pidfd))).await);
                }
                Err(StartFailure { kind, errno: Some(failure.errno as i32) })
            }
            Some(Err(error)) => Err(failure_of_call(&error)),
            None => Err(internal(None)),
        }
    }
}

/// Waits until the report of a child can be read without blocking, so that one slow exec does not stop the rest.
async fn wait_for_report(child: &Child) -> Result<(), StartFailure> {
    let report = watch(child.report(), Interest::READABLE).map_err(|error| internal(error.raw_os_error()))?;
    match tokio::time::timeout(SETUP_TIMEOUT, report.readable()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(internal(error.raw_os_error())),
        Err(_elapsed) => Err(internal(Some(libc::ETIMEDOUT))),
    }
}

/// A failure that is nobody's fault but ours.
pub(crate) fn internal(errno: Option<i32>) -> StartFailure {
    StartFailure { kind: StartFailureKind::Internal, errno }
}

/// What a failed call of the agent's own means.
pub(crate) fn failure_of_call(error: &Error) -> StartFailure {
    let kind = match (error.call, error.errno) {
        ("clone3", Errno::EAGAIN) => StartFailureKind::ProcessLimit,
        ("mkdirat", Errno::EAGAIN) => StartFailureKind::ExecutionLimit,
        (_, Errno::ENOMEM) => StartFailureKind::MemoryLimit,
        _ => StartFailureKind::Internal,
    };
    StartFailure { kind, errno: Some(error.errno as i32) }
}

/// What a failed step of the child means.
fn kind_of_step(op: &Op<'_>, errno: Errno) -> StartFailureKind {
    use StartFailureKind as Kind;
    match (op, errno) {
        (_, Errno::ENOMEM) => Kind::MemoryLimit,
        (Op::ChangeDirectory(_) | Op::EnterIfPresent(_), errno) => match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::ENAMETOOLONG => Kind::NoSuchDirectory,
            Errno::EACCES | Errno::EPERM => Kind::DirectoryDenied,
            _ => Kind::Internal,
        },
        // Done with the agent's rights, which are those of anybody: its path leads through the root.
        (Op::WriteFile { .. }, Errno::EACCES) => Kind::RootDenied,
        // An id that the sandbox does not have.
        (Op::SetIds(..) | Op::SetGroups(_), Errno::EINVAL) => Kind::NoSuchUser,
        (Op::ExecutePath { .. }, errno) => match errno {
            Errno::E2BIG => Kind::TooLong,
            Errno::EAGAIN => Kind::ProcessLimit,
            Errno::EMFILE | Errno::ENFILE | Errno::EIO => Kind::Internal,
            _ => Kind::NoShell,
        },
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::agent::ExecutionSpec;

    fn position(ops: &[Op<'_>], found: impl Fn(&Op<'_>) -> bool) -> usize {
        ops.iter().position(found).unwrap()
    }

    #[test]
    fn the_order_of_the_plan_is_the_wall() {
        let spec = ExecutionSpec::attached("true".to_owned());
        let null = || std::fs::File::open("/dev/null").unwrap().into();
        let processors = CpuSet::new();
        let rules = Rules { open_files: 1024, processors, program: null(), filter: Vec::new() };
        let ends = Ends::Pipes { stdin: None, stdout: null(), stderr: null() };
        let ops = plan(&rules, command_outfit(&rules, Command::new(&spec, Account::root()).unwrap(), &ends));
        let ids = position(&ops, |op| matches!(op, Op::SetIds(..)));
        let closed = position(&ops, |op| matches!(op, Op::CloseOnExecFrom(_)));
        assert!(position(&ops, |op| matches!(op, Op::WriteFile { .. })) < ids, "no tenant traces the writer");
        assert!(ids < position(&ops, |op| matches!(op, Op::EnterIfPresent(_))), "with the tenant's rights");
        assert!(ops.iter().skip(closed).all(|op| !matches!(op, Op::Place(..) | Op::OpenAt(..))));
        let sets = ops.iter().find_map(|op| match op {
            Op::SetCapabilities(sets) => Some(*sets),
            _ => None,
        });
        assert_eq!(sets.unwrap().inheritable, 0);
        assert!(matches!(ops[ops.len() - 2..], [Op::Filter(_), Op::ExecutePath { .. }]));
        let other = Account { uid: 1000, gid: 1000, groups: vec![10], ..Account::root() };
        let ops = plan(&rules, command_outfit(&rules, Command::new(&spec, other).unwrap(), &ends));
        let ids = position(&ops, |op| matches!(op, Op::SetIds(..)));
        assert_eq!(position(&ops, |op| matches!(op, Op::SetGroups(_))), ids + 1, "while SETGID is in force");
        let none = CapSets::default();
        assert_eq!(position(&ops, |op| matches!(op, Op::SetCapabilities(sets) if *sets == none)), ids + 2);
    }

    #[test]
    fn each_failure_has_its_word() {
        let enter = Op::ChangeDirectory(c"/x".into());
        assert_eq!(kind_of_step(&enter, Errno::ENOTDIR), StartFailureKind::NoSuchDirectory);
        assert_eq!(kind_of_step(&enter, Errno::EACCES), StartFailureKind::DirectoryDenied);
        let envp = bulkhead_sys::call::exec::Strings::new(Vec::new());
        let execute = Op::ExecutePath { programs: Vec::new(), envp };
        assert_eq!(kind_of_step(&execute, Errno::ENOENT), StartFailureKind::NoShell);
        assert_eq!(kind_of_step(&execute, Errno::E2BIG), StartFailureKind::TooLong);
        assert_eq!(kind_of_step(&Op::NewSession, Errno::EPERM), StartFailureKind::Internal);
        let adjust = Op::WriteFile {
            path: c"/proc/self/oom_score_adj".into(),
            bytes: Vec::new(),
            missing: Missing::IsFine,
        };
        assert_eq!(kind_of_step(&adjust, Errno::EACCES), StartFailureKind::RootDenied);
        assert_eq!(kind_of_step(&adjust, Errno::EROFS), StartFailureKind::Internal);
        let clone = Error { call: "clone3", on: String::new(), errno: Errno::EAGAIN };
        assert_eq!(failure_of_call(&clone).kind, StartFailureKind::ProcessLimit);
    }
}
