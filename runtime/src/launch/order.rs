//! The order of isolation, as data: what the first process of a sandbox does between clone and exec.
//!
//! [`steps`] is the whole order at one glance; each function below says what had to come before it and why. What is done
//! is what the spec of the sandbox says (`crate::spec`); the order, the inner init and the descriptors are ours.

use crate::error::{Error, Result};
use crate::ids::AGENT_ID;
use crate::masks::Masks;
use crate::rlimits::ProcessLimit;
use crate::spec::{self, mounts, part};
use crate::{sysctls, view};
use bulkhead_protocol::agent::{LAST_FD, LISTEN_FD};
use bulkhead_sys::call::exec::{Strings, namespace};
use bulkhead_sys::call::process::{CapSets, Ids};
use bulkhead_sys::op::{Missing, Op};
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};

/// What the inner init is told that it is.
const INIT: &str = "init";
/// First descriptor that ends with the exec.
const FIRST_CLOSED: i32 = LAST_FD + 1;
/// Where the new root stands until it is *the* root. It lies in a private copy of the host's mounts that is gone
/// a moment later; /proc would not do, since a new proc needs the old one to be visible.
const OVER: &CStr = c"/usr";

/// What is made before the clone.
pub(super) struct Inputs<'a> {
    /// What all of the order is derived from.
    pub(super) spec: &'a Spec,
    /// The agent's program.
    pub(super) agent: BorrowedFd<'a>,
    /// Compiled from the spec.
    pub(super) filter: &'a [libc::sock_filter],
    /// Readable when the id maps stand.
    pub(super) wait: BorrowedFd<'a>,
    /// The parent's end of it.
    pub(super) go: BorrowedFd<'a>,
    pub(super) tasks: Vec<BorrowedFd<'a>>,
    pub(super) root: BorrowedFd<'a>,
    /// Detached mounts, by what the spec has as their source.
    pub(super) handles: BTreeMap<String, BorrowedFd<'a>>,
    /// The agent's descriptors from [`LISTEN_FD`] on, in the order of their numbers.
    pub(super) descriptors: Vec<BorrowedFd<'a>>,
}

/// The order. What follows a step relies on it; what can be undone by a capability comes before it is dropped.
///
/// # Errors
/// [`Error::Spec`]: something is missing, or asks for what is not done here.
pub(super) fn steps<'a>(inputs: &'a Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let mut ops = Vec::with_capacity(64);
    ops.extend(wait_for_maps(inputs));
    ops.extend(enter_limits(inputs)?);
    ops.extend(become_root_inside(inputs)?);
    ops.extend(build_root(inputs)?);
    // Commands live in a pid namespace that this process, the agent to be, is no part of.
    ops.push(Op::Unshare(namespace::PID));
    ops.push(Op::ForkInit(init(inputs)?));
    ops.extend(leave_the_host(inputs)?);
    ops.extend(lay_out_descriptors(inputs));
    ops.extend(bound_resources(inputs)?);
    ops.extend(drop_privileges(inputs)?);
    ops.push(execute(inputs, None)?);
    Ok(ops)
}

/// The namespaces of the clone itself: the cgroup namespace comes later, network and time were entered before.
pub(super) fn clone_flags(spec: &Spec) -> Result<u64> {
    let flag = |kind| match kind {
        LinuxNamespaceType::User => namespace::USER,
        LinuxNamespaceType::Pid => namespace::PID,
        LinuxNamespaceType::Mount => namespace::MOUNT,
        LinuxNamespaceType::Ipc => namespace::IPC,
        LinuxNamespaceType::Uts => namespace::UTS,
        LinuxNamespaceType::Cgroup | LinuxNamespaceType::Network | LinuxNamespaceType::Time => 0,
    };
    Ok(spec::namespaces(spec)?.into_iter().map(flag).fold(0, std::ops::BitOr::bitor))
}

/// Before the maps stand this process is nobody. If the parent dies meanwhile, so does it.
fn wait_for_maps<'a>(inputs: &Inputs<'a>) -> Vec<Op<'a>> {
    vec![Op::Close(inputs.go.as_raw_fd()), Op::DieWithParent, Op::Await(inputs.wait)]
}

/// On v1 a process moves itself; only then may the cgroup namespace be made, whose root is where it stands.
fn enter_limits<'a>(inputs: &Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let mut ops: Vec<_> = inputs.tasks.iter().map(|file| Op::Write(*file, b"0")).collect();
    if spec::namespaces(inputs.spec)?.contains(&LinuxNamespaceType::Cgroup) {
        ops.push(Op::Unshare(namespace::CGROUP));
    }
    Ok(ops)
}

/// Root of the new user namespace, nothing of the host's in keyrings or mounts.
fn become_root_inside<'a>(inputs: &Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let propagation = part(spec::linux(inputs.spec)?.rootfs_propagation(), "linux.rootfsPropagation")?;
    if propagation != "private" {
        return Err(Error::Spec("mounts that are not private"));
    }
    Ok(vec![Op::SetIds(Ids::all(0), Ids::all(0)), Op::NewSessionKeyring, Op::MakeMountsPrivate])
}

/// Every target is found below the new root without following a link, which an image might have put there.
fn build_root<'a>(inputs: &'a Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let mut ops = vec![Op::EnterRoot { root: inputs.root, over: OVER.to_owned() }];
    let all = part(inputs.spec.mounts(), "mounts")?;
    for mount in all.iter().filter(|mount| !mounts::is_of_proc(mount)) {
        if mounts::is_of_host(mount) {
            ops.extend(directories(mounts::at(mount)?)?);
        }
        ops.push(make(inputs, mount)?);
    }
    Ok(ops)
}

/// A directory and all above it, which an image need not have.
fn directories<'a>(path: &str) -> Result<Vec<Op<'a>>> {
    let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
    let make = |path: &str| {
        let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
        Ok(Op::MakeDirectory { parent: c_string(parent)?, name: c_string(name)?, mode: 0o755 })
    };
    ends.map(|end| make(&path[..end])).collect()
}

fn make<'a>(inputs: &'a Inputs<'a>, mount: &Mount) -> Result<Op<'a>> {
    let at = c_string(mounts::at(mount)?)?;
    Ok(match mounts::source(mount)? {
        mounts::Source::Handle(name) => {
            let mount = inputs.handles.get(name).ok_or(Error::Spec("a mount that was not made"))?;
            Op::Attach { mount: *mount, at }
        }
        mounts::Source::Inside(path) => Op::Bind { from: c_string(path)?, to: at },
        mounts::Source::New(fstype) => {
            let options = mounts::file_system_options(mount)?;
            Op::Mount { fstype, options, attributes: mounts::attributes(mount), at }
        }
    })
}

/// The first process of the inner pid namespace mounts /proc, which shows the namespace of who mounts it, locks
/// the user namespace and tells its parent to go on; the rest it does beside it. It keeps no right at all.
fn init<'a>(inputs: &'a Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let linux = spec::linux(inputs.spec)?;
    let all = part(inputs.spec.mounts(), "mounts")?;
    let mut of_proc = all.iter().filter(|mount| mounts::is_of_proc(mount));
    let proc = of_proc.next().ok_or(Error::Spec("no /proc"))?;
    let mut ops = vec![make(inputs, proc)?];
    let knobs: BTreeMap<_, _> = part(linux.sysctl(), "linux.sysctl")?.iter().collect();
    let (of_user, others): (Vec<_>, Vec<_>) =
        knobs.into_iter().partition(|(name, _)| sysctls::is_of_user_namespace(name));
    // Before an agent, which may be hostile, can run.
    for (name, value) in of_user {
        ops.push(knob(name, value, Missing::IsFine)?);
    }
    ops.push(Op::Ready);
    for (name, value) in others {
        ops.push(knob(name, value, Missing::OrRefusedIsFine)?);
    }
    for mount in of_proc {
        ops.push(make(inputs, mount)?);
    }
    let masks = Masks::of_paths(part(linux.masked_paths(), "linux.maskedPaths")?)?;
    for name in &masks.files {
        ops.push(Op::Bind { from: c"dev/null".to_owned(), to: c_string(&format!("proc/{name}"))? });
    }
    for name in &masks.directories {
        ops.push(Op::Bind { from: c_string(view::EMPTY)?, to: c_string(&format!("proc/{name}"))? });
    }
    // After the knobs above were written through it.
    for path in part(linux.readonly_paths(), "linux.readonlyPaths")? {
        ops.push(Op::MakeReadOnly(c_string(path.trim_start_matches('/'))?));
    }
    ops.extend(standard_streams());
    ops.extend([
        Op::CloseOnExecFrom(3),
        Op::NewSession,
        Op::ResetSignals,
        Op::SetBoundingSet(0),
        Op::SetIds(Ids::all(AGENT_ID), Ids::all(AGENT_ID)),
        Op::SetCapabilities(CapSets::default()),
        Op::NoNewPrivileges,
        Op::Filter(inputs.filter),
        execute(inputs, Some(INIT))?,
    ]);
    Ok(ops)
}

fn knob<'a>(name: &str, value: &str, missing: Missing) -> Result<Op<'a>> {
    let path = c_string(&format!("proc/sys/{}", sysctls::path(name)))?;
    Ok(Op::WriteFile { path, bytes: value.as_bytes().to_vec(), missing })
}

/// The host's tree goes; the host name can be set only before the filter.
fn leave_the_host<'a>(inputs: &Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let umask = spec::process(inputs.spec)?.user().umask().ok_or(Error::Spec("process.user.umask"))?;
    Ok(vec![
        Op::PivotRoot,
        Op::SetHostname(c_string(part(inputs.spec.hostname(), "hostname")?)?),
        Op::SetUmask(umask),
        Op::NewSession,
        Op::ResetSignals,
    ])
}

/// After the descriptors are laid out: until then this process holds a copy of what the runtime uses, and under a limit
/// that is lower could open nothing more.
fn bound_resources<'a>(inputs: &Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let limits = part(spec::process(inputs.spec)?.rlimits(), "process.rlimits")?;
    let op = |limit: ProcessLimit| Op::Limit(limit.resource, limit.soft, limit.hard);
    limits.iter().map(|limit| ProcessLimit::read(*limit).map(op)).collect()
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
fn drop_privileges<'a>(inputs: &Inputs<'a>) -> Result<Vec<Op<'a>>> {
    let process = spec::process(inputs.spec)?;
    let sets = part(process.capabilities(), "process.capabilities")?;
    let bits = |set, name| spec::bits(part(set, name)?);
    let (user, group) = (process.user().uid(), process.user().gid());
    if process.no_new_privileges() != Some(true) {
        return Err(Error::Spec("new privileges"));
    }
    Ok(vec![
        Op::KeepCapabilities,
        Op::SetIds(Ids::all(user), Ids::all(group)),
        Op::SetCapabilities(CapSets {
            effective: bits(sets.effective(), "process.capabilities.effective")?,
            permitted: bits(sets.permitted(), "process.capabilities.permitted")?,
            inheritable: bits(sets.inheritable(), "process.capabilities.inheritable")?,
        }),
        Op::SetAmbient(bits(sets.ambient(), "process.capabilities.ambient")?),
        // After the inheritable set, which may hold only what is bounded.
        Op::SetBoundingSet(bits(sets.bounding(), "process.capabilities.bounding")?),
        Op::NoNewPrivileges,
        Op::Filter(inputs.filter),
    ])
}

/// The agent's program; in a `role` other than that of the spec, as its first argument says.
fn execute<'a>(inputs: &Inputs<'a>, role: Option<&str>) -> Result<Op<'a>> {
    let process = spec::process(inputs.spec)?;
    let texts = |texts: &[String]| texts.iter().map(|text| c_string(text)).collect::<Result<Vec<_>>>();
    let mut arguments = texts(part(process.args(), "process.args")?)?;
    if let Some(role) = role {
        arguments.truncate(1);
        arguments.push(c_string(role)?);
    }
    Ok(Op::ExecuteFile {
        file: inputs.agent,
        argv: Strings::new(arguments),
        envp: Strings::new(texts(part(process.env(), "process.env")?)?),
    })
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::Spec("a NUL in a text"))
}

#[cfg(test)]
mod tests;
