//! The order of isolation, as data: what the first process of a sandbox does between clone and exec.
//!
//! [`steps`] is the whole order at one glance; each function below says what had to come before it and why.

use super::Launcher;
use crate::ids::AGENT_ID;
use crate::record::Record;
use crate::rlimits;
use crate::roots::Root;
use crate::sysctls;
use crate::view::{self, OwnView};
use bulkhead_protocol::agent::{
    LAST_FD, LAUNCH_ENV, LISTEN_FD, MAX_EXECUTIONS, MEMORY_ENV, OPEN_FILES_ENV, PROCESSORS_ENV,
};
use bulkhead_protocol::limits::MIB;
use bulkhead_sys::call::exec::{Strings, namespace};
use bulkhead_sys::call::mount::attr;
use bulkhead_sys::call::process::{CapSets, Ids};
use bulkhead_sys::caps;
use bulkhead_sys::op::{Missing, Op};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Terminals of one sandbox: its executions and sessions, and a few for programs like script(1).
const TERMINALS: usize = MAX_EXECUTIONS + 8;
/// Most bytes of /dev/shm, and of any memory file system a quarter of the limit.
const MAX_SHM: u64 = 64 * MIB;
/// First descriptor that ends with the exec.
const FIRST_CLOSED: i32 = LAST_FD + 1;
/// Where the new root stands until it is *the* root. It lies in a private copy of the host's mounts that is gone
/// a moment later; /proc would not do, since a new proc needs the old one to be visible.
const OVER: &CStr = c"/usr";

/// What is made before the clone.
pub(super) struct Inputs<'a> {
    pub(super) record: &'a Record,
    pub(super) hostname: &'a str,
    pub(super) launcher: &'a Launcher,
    /// Readable when the id maps stand.
    pub(super) wait: BorrowedFd<'a>,
    /// The parent's end of it.
    pub(super) go: BorrowedFd<'a>,
    pub(super) tasks: Vec<BorrowedFd<'a>>,
    pub(super) root: &'a Root,
    pub(super) dev: BorrowedFd<'a>,
    /// What the sandbox is told about its machine.
    pub(super) view: &'a OwnView,
    /// Its cgroup, for the mount table.
    pub(super) shown: BorrowedFd<'a>,
    /// The agent's descriptors from [`LISTEN_FD`] on, in the order of their numbers.
    pub(super) descriptors: Vec<BorrowedFd<'a>>,
}

/// The order. What follows a step relies on it; what can be undone by a capability comes before it is dropped.
pub(super) fn steps<'a>(inputs: &'a Inputs<'a>) -> Vec<Op<'a>> {
    let mut ops = Vec::with_capacity(64);
    ops.extend(wait_for_maps(inputs));
    ops.extend(enter_limits(inputs));
    ops.extend(become_root_inside());
    ops.extend(build_root(inputs));
    // Commands live in a pid namespace that this process, the agent to be, is no part of.
    ops.push(Op::Unshare(namespace::PID));
    ops.push(Op::ForkInit(init(inputs)));
    ops.extend(leave_the_host(inputs));
    ops.extend(lay_out_descriptors(inputs));
    ops.extend(bound_resources(inputs));
    ops.extend(drop_privileges(inputs));
    ops.push(execute(inputs, c"serve"));
    ops
}

/// Before the maps stand this process is nobody. If the parent dies meanwhile, so does it.
fn wait_for_maps<'a>(inputs: &Inputs<'a>) -> Vec<Op<'a>> {
    vec![Op::Close(inputs.go.as_raw_fd()), Op::DieWithParent, Op::Await(inputs.wait)]
}

/// On v1 a process moves itself; only then may the cgroup namespace be made, whose root is where it stands.
fn enter_limits<'a>(inputs: &Inputs<'a>) -> Vec<Op<'a>> {
    let mut ops: Vec<_> = inputs.tasks.iter().map(|file| Op::Write(*file, b"0")).collect();
    ops.push(Op::Unshare(namespace::CGROUP));
    ops
}

/// Root of the new user namespace, nothing of the host's in keyrings or mounts.
fn become_root_inside<'a>() -> Vec<Op<'a>> {
    vec![Op::SetIds(Ids::all(0), Ids::all(0)), Op::NewSessionKeyring, Op::MakeMountsPrivate]
}

/// Every target is found below the new root without following a link, which an image might have put there.
fn build_root<'a>(inputs: &'a Inputs<'a>) -> Vec<Op<'a>> {
    let memory = inputs.record.limits.memory_bytes;
    let mut ops = vec![Op::EnterRoot { root: inputs.root.root.as_fd(), over: OVER.to_owned() }];
    for (at, mount) in &inputs.root.mounts {
        ops.push(Op::Attach { mount: mount.as_fd(), at: at.clone() });
    }
    ops.push(Op::Attach { mount: inputs.dev, at: c"dev".to_owned() });
    ops.push(mount(
        c"devpts",
        c"dev/pts",
        attr::NOSUID | attr::NOEXEC,
        &[
            (c"newinstance", String::new()),
            (c"ptmxmode", "0666".into()),
            (c"mode", "0620".into()),
            (c"gid", "5".into()),
            (c"max", TERMINALS.to_string()),
        ],
    ));
    ops.push(memory_files(c"dev/shm", (memory / 4).min(MAX_SHM), attr::NOEXEC));
    ops.push(mount(c"mqueue", c"dev/mqueue", attr::NOSUID | attr::NODEV | attr::NOEXEC, &[]));
    ops.push(memory_files(c"tmp", memory / 4, 0));
    let view = inputs.view;
    let attach = |mount: BorrowedFd<'a>, at: &str| Op::Attach { mount, at: c_string(at) };
    ops.push(attach(view.sys.as_fd(), "sys"));
    ops.push(attach(view.own.as_fd(), view::OWN));
    // The second covers the first: a JVM finds the type in the mount table and then reads what is on top.
    ops.push(attach(inputs.shown, "sys/fs/cgroup"));
    ops.push(attach(view.cgroup.as_fd(), "sys/fs/cgroup"));
    ops
}

/// The first process of the inner pid namespace mounts /proc, which shows the namespace of who mounts it, locks
/// the user namespace and tells its parent to go on; the rest it does beside it. It keeps no right at all.
fn init<'a>(inputs: &'a Inputs<'a>) -> Vec<Op<'a>> {
    let mut ops = vec![mount(c"proc", c"proc", attr::NOSUID | attr::NODEV | attr::NOEXEC, &[])];
    // Before an agent, which may be hostile, can run.
    ops.extend(lock_user_namespace());
    ops.push(Op::Ready);
    let ipc = sysctls::of_ipc(&inputs.record.limits);
    ops.extend(ipc.iter().map(|(name, value)| knob(name, value, Missing::OrRefusedIsFine)));
    let over = |directory: &str, name: &str| Op::Bind {
        from: c_string(&format!("{directory}/{name}")),
        to: c_string(&format!("proc/{name}")),
    };
    ops.extend(view::OWN_OVER_PROC.iter().map(|name| over(view::OWN, name)));
    ops.extend(view::SHARED_OVER_PROC.iter().map(|name| over(view::SHARED, name)));
    let masks = &inputs.launcher.masks;
    for name in &masks.files {
        ops.push(Op::Bind { from: c"dev/null".to_owned(), to: c_string(&format!("proc/{name}")) });
    }
    for name in &masks.directories {
        ops.push(Op::Bind { from: c_string(view::EMPTY), to: c_string(&format!("proc/{name}")) });
    }
    // After the knobs above were written through it.
    ops.push(Op::MakeReadOnly(c"proc/sys".to_owned()));
    ops.extend(standard_streams());
    ops.extend([
        Op::CloseOnExecFrom(3),
        Op::NewSession,
        Op::ResetSignals,
        Op::SetBoundingSet(0),
        Op::SetIds(Ids::all(AGENT_ID), Ids::all(AGENT_ID)),
        Op::SetCapabilities(CapSets::default()),
        Op::NoNewPrivileges,
        Op::Filter(&inputs.launcher.filter),
        execute(inputs, c"init"),
    ]);
    ops
}

fn lock_user_namespace<'a>() -> Vec<Op<'a>> {
    let write = |(name, value): (&str, &str)| knob(name, value, Missing::IsFine);
    sysctls::USER_NAMESPACE.into_iter().map(write).collect()
}

fn knob<'a>(name: &str, value: &str, missing: Missing) -> Op<'a> {
    let path = c_string(&format!("proc/sys/{name}"));
    Op::WriteFile { path, bytes: value.as_bytes().to_vec(), missing }
}

/// The host's tree goes; the host name can be set only before the filter.
fn leave_the_host<'a>(inputs: &Inputs<'a>) -> Vec<Op<'a>> {
    vec![
        Op::PivotRoot,
        Op::SetHostname(c_string(inputs.hostname)),
        Op::SetUmask(0o022),
        Op::NewSession,
        Op::ResetSignals,
    ]
}

/// After the descriptors are laid out: until then this process holds a copy of what the runtime uses, and under a limit
/// that is lower could open nothing more.
fn bound_resources<'a>(inputs: &Inputs<'a>) -> Vec<Op<'a>> {
    let limits = rlimits::of(&inputs.record.limits, inputs.launcher.ceilings);
    limits.iter().map(|limit| Op::Limit(limit.resource, limit.soft, limit.hard)).collect()
}

/// The agent gets eight descriptors beside /dev/null; everything else ends with the exec.
fn lay_out_descriptors<'a>(inputs: &Inputs<'a>) -> Vec<Op<'a>> {
    let mut ops = standard_streams();
    ops.extend(inputs.descriptors.iter().zip(LISTEN_FD..).map(|(fd, number)| Op::Place(*fd, number)));
    ops.push(Op::CloseOnExecFrom(FIRST_CLOSED));
    ops
}

fn standard_streams<'a>() -> Vec<Op<'a>> {
    (0..3).map(|number| Op::OpenAt(c"dev/null".to_owned(), number)).collect()
}

/// The bounding set shrinks while the right to shrink it is in force; the filter comes last, since it refuses
/// what came before.
fn drop_privileges<'a>(inputs: &Inputs<'a>) -> Vec<Op<'a>> {
    let sets = CapSets { effective: caps::AGENT, permitted: caps::AGENT, inheritable: caps::AGENT };
    vec![
        Op::KeepCapabilities,
        Op::SetIds(Ids::all(AGENT_ID), Ids::all(AGENT_ID)),
        Op::SetCapabilities(sets),
        // So that they survive the exec of a user other than root; the agent empties it at once.
        Op::SetAmbient(caps::AGENT),
        // A tenant's, for good: what the agent has beyond it is ambient, and no command gets it back. After the
        // inheritable set, which may hold only what is bounded.
        Op::SetBoundingSet(caps::TENANT),
        Op::NoNewPrivileges,
        Op::Filter(&inputs.launcher.filter),
    ]
}

fn execute<'a>(inputs: &Inputs<'a>, role: &CStr) -> Op<'a> {
    let processors: Vec<_> = inputs.record.processors.iter().map(ToString::to_string).collect();
    let environment = [
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        format!("{LAUNCH_ENV}={}", inputs.record.launch),
        format!("{OPEN_FILES_ENV}={}", rlimits::open_files(&inputs.record.limits, inputs.launcher.ceilings)),
        format!("{MEMORY_ENV}={}", inputs.record.limits.memory_bytes),
        format!("{PROCESSORS_ENV}={}", processors.join(",")),
        #[cfg(feature = "weaken")]
        crate::weaken::variable(),
    ];
    Op::ExecuteFile {
        file: inputs.launcher.agent.as_fd(),
        argv: Strings::new(vec![c"bulkhead-agent".to_owned(), role.to_owned()]),
        envp: Strings::new(environment.iter().map(|text| c_string(text)).collect()),
    }
}

fn mount<'a>(
    fstype: &'static CStr,
    at: &CStr,
    attributes: u64,
    options: &[(&'static CStr, String)],
) -> Op<'a> {
    let options = options.iter().map(|(key, value)| (*key, c_string(value))).collect();
    Op::Mount { fstype, options, attributes, at: at.to_owned() }
}

/// A file system in memory, charged to the sandbox, bounded in bytes and in files.
fn memory_files<'a>(at: &CStr, bytes: u64, more: u64) -> Op<'a> {
    let files = (bytes / (16 << 10)).max(1024);
    mount(
        c"tmpfs",
        at,
        attr::NOSUID | attr::NODEV | more,
        &[(c"size", bytes.to_string()), (c"nr_inodes", files.to_string()), (c"mode", "1777".into())],
    )
}

/// All texts here are ours or were checked: none has a NUL.
fn c_string(text: &str) -> CString {
    CString::new(text).expect("no NUL in a checked text")
}
