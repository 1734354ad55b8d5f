//! From a request to a running agent: a chain of types that consume one another, so that no step can be left out
//! or done twice. Undoing is one thing for all of them, the end of a sandbox (`server/ending.rs`): everything that a sandbox owns is
//! named by its id, so undo needs no memory of how far the launch came.

mod clock;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod order;

use crate::cgroup::{Group, Groups};
use crate::dev::Template;
use crate::digests::Digests;
use crate::error::{Doing, Error, Result};
use crate::identity::Home;
use crate::ids::AGENT_ID;
use crate::masks::Masks;
use crate::networks::Networks;
use crate::processors::Host;
use crate::record::{Identity, Phase, Record, Records};
use crate::rlimits::Ceilings;
use crate::roots::{Root, Roots, Wish};
use crate::view::View;
use bulkhead_protocol::runtime::Disk;
use bulkhead_sys::call::exec::namespace;
use bulkhead_sys::error::Context;
use bulkhead_sys::op::Op;
use bulkhead_sys::report::{Failure, Process};
use bulkhead_sys::seccomp::{Profile, compile};
use bulkhead_sys::spawn::{Child, Outcome, spawn_apart};
use bulkhead_sys::userns::IdRange;
use bulkhead_sys::{fd, userns};
pub(crate) use clock::{Clock, Times};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Score that makes an agent go before the host's own daemons when the host runs out of memory.
const AGENT_OOM_SCORE: &str = "300";

/// What all launches share, made once.
#[derive(Debug)]
pub(crate) struct Launcher {
    agent: OwnedFd,
    dev: Template,
    pub(crate) masks: Masks,
    view: View,
    pub(crate) host: Host,
    filter: Vec<libc::sock_filter>,
    pub(crate) home: Home,
    /// Of the filters.
    pub(crate) digests: Digests,
    pub(crate) ceilings: Ceilings,
}

impl Launcher {
    /// Seals the agent's program and makes the templates; `mounts` is a directory of ours.
    pub(crate) fn new(agent: &[u8], mounts: &std::path::Path) -> Result<Self> {
        Ok(Self {
            agent: fd::high(&fd::sealed_program(c"bulkhead-agent", agent).doing("seal the agent")?)
                .doing("seal the agent")?,
            dev: Template::make(&mounts.join("dev"))?,
            masks: Masks::for_this_host(),
            view: View::make(mounts)?,
            host: Host::read()?,
            filter: compile(Profile::Agent),
            home: Home::remember()?,
            digests: Digests::of_this_release(),
            ceilings: Ceilings::read()?,
        })
    }
}

/// Recorded, nothing made yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    record: Record,
    hostname: String,
    disk: Disk,
}

/// Its cgroups exist, limits in force.
#[derive(Debug)]
pub(crate) struct InCgroup {
    prepared: Prepared,
    group: Group,
}

/// Its disk and root exist, detached.
#[derive(Debug)]
pub(crate) struct Rooted {
    in_cgroup: InCgroup,
    root: Root,
}

/// Its first process exists and waits for its maps.
#[derive(Debug)]
pub(crate) struct Cloned {
    in_cgroup: InCgroup,
    range: IdRange,
    child: Child,
    go: OwnedFd,
    steps: Steps,
}

/// Its maps stand and its processes set themselves up.
#[derive(Debug)]
pub(crate) struct Mapped {
    record: Record,
    child: Child,
    steps: Steps,
}

/// Its agent runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) record: Record,
    pub(crate) pidfd: OwnedFd,
}

/// Names of the steps of both processes, for errors.
#[derive(Debug)]
struct Steps {
    child: Vec<String>,
    init: Vec<String>,
}

impl Prepared {
    /// Writes the record: from here on a crash leaves nothing that the next start does not find.
    pub(crate) fn record(records: &Records, record: Record, hostname: String, disk: Disk) -> Result<Self> {
        records.write(&record)?;
        Ok(Self { record, hostname, disk })
    }

    /// Makes the cgroups; their limits are in force before anything lives in them.
    pub(crate) fn limit(self, groups: &Groups) -> Result<InCgroup> {
        let group = groups.create(&self.record.id, &self.record.limits)?;
        Ok(InCgroup { prepared: self, group })
    }
}

impl InCgroup {
    /// Makes the disk and the root.
    pub(crate) fn root(self, roots: &mut dyn Roots) -> Result<Rooted> {
        let Prepared { record, hostname, disk } = &self.prepared;
        let disk_bytes = record.limits.disk_bytes;
        #[cfg(feature = "weaken")]
        let disk_bytes = crate::weaken::disk_bytes(disk_bytes);
        let wish = Wish {
            id: &record.id,
            image: &record.image,
            hostname,
            range: record.slot.range(),
            disk: *disk,
            disk_bytes,
        };
        let root = roots.prepare(wish).map_err(Error::Root)?;
        Ok(Rooted { in_cgroup: self, root })
    }
}

impl Rooted {
    /// Clones the first process; `listener` is the agent's socket.
    pub(crate) fn clone_child(
        self,
        launcher: &Launcher,
        networks: &mut Networks,
        listener: &OwnedFd,
    ) -> Result<Cloned> {
        let Self { in_cgroup, root } = self;
        let record = &in_cgroup.prepared.record;
        let range = record.slot.range();
        let high = |fd: &OwnedFd| fd::high(fd).doing("move a descriptor out of the way");
        let group = &in_cgroup.group;
        let tasks = group.task_files()?;
        let processors = launcher.host.these(&record.processors);
        let view = launcher.view.of(&record.limits, &processors)?;
        let shown = group.mount_for_show()?;
        let memory = group.memory_files()?;
        let descriptors = [
            high(listener)?,
            high(&group.agent_handle(range.base + AGENT_ID)?)?,
            high(&group.oom_counter()?)?,
            high(&memory.usage)?,
            high(&memory.stat)?,
            high(&view.meminfo)?,
            high(&view.memory_current)?,
            high(&launcher.agent)?,
        ];
        let dev = launcher.dev.copy()?;
        let (wait, go) =
            nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).during("pipe2", String::new).doing("clone")?;
        let (wait, go) = (high(&wait)?, high(&go)?);
        let inputs = order::Inputs {
            record,
            hostname: &in_cgroup.prepared.hostname,
            launcher,
            wait: wait.as_fd(),
            go: go.as_fd(),
            tasks: tasks.iter().map(AsFd::as_fd).collect(),
            root: &root,
            dev: dev.as_fd(),
            view: &view,
            shown: shown.as_fd(),
            descriptors: descriptors.iter().map(AsFd::as_fd).collect(),
        };
        let ops = order::steps(&inputs);
        #[cfg(feature = "weaken")]
        let ops = crate::weaken::steps(ops);
        let steps = Steps::of(&ops);
        let namespaces =
            namespace::USER | namespace::PID | namespace::MOUNT | namespace::IPC | namespace::UTS;
        #[cfg(feature = "weaken")]
        let namespaces = crate::weaken::namespaces(namespaces);
        let unified = group.unified.as_fd();
        let clone = || spawn_apart(&ops, namespaces, Some(unified)).doing("clone");
        let child = launcher.home.away(range.base, networks, clone)?;
        drop(ops);
        Ok(Cloned { in_cgroup, range, child, go, steps })
    }
}

impl Cloned {
    /// Writes the id maps and lets the child go on.
    pub(crate) fn map(self) -> Result<Mapped> {
        let Self { in_cgroup: InCgroup { prepared, .. }, range, child, go, steps } = self;
        let extent = userns::Extent { inside: 0, outside: range.base, count: range.count };
        userns::write_maps(child.pid, &[extent]).doing("write the id maps")?;
        let path = format!("/proc/{}/oom_score_adj", child.pid);
        std::fs::write(&path, AGENT_OOM_SCORE)
            .during("write", || path)
            .doing("raise the agent's oom score")?;
        nix::unistd::write(&go, b"g").during("write", || "go".into()).doing("let the child go on")?;
        Ok(Mapped { record: prepared.record, child, steps })
    }
}

impl Mapped {
    /// Becomes readable when both processes executed their program, or one failed.
    pub(crate) fn report(&self) -> BorrowedFd<'_> {
        self.child.report()
    }

    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Reads the report, which must be readable, and records what runs.
    ///
    /// # Errors
    /// [`Failed`]: the step, and what exists of the sandbox.
    pub(crate) fn finish(self, records: &Records) -> std::result::Result<Running, Box<Failed>> {
        let Self { mut record, child, steps } = self;
        let (pidfd, error) = match child.wait_for_exec().doing("wait for the agent") {
            Ok(Outcome::Executed { pid, pidfd }) => match note_running(records, &mut record, pid) {
                Ok(()) => return Ok(Running { record, pidfd }),
                Err(error) => (Some(pidfd), error),
            },
            Ok(Outcome::Failed { failure, pidfd }) => (Some(pidfd), steps.error(failure)),
            Err(error) => (None, error),
        };
        Err(Box::new(Failed { record, pidfd, error }))
    }

    /// Gives the launch up.
    pub(crate) fn abandon(self) -> Failed {
        let error = Error::TooLong("the setup of a sandbox");
        Failed { record: self.record, pidfd: Some(self.child.pidfd), error }
    }
}

fn note_running(records: &Records, record: &mut Record, pid: i32) -> Result<()> {
    let identity = Identity::of(pid).ok_or(Error::TooLong("the agent's life"))?;
    let running = Record { phase: Phase::Running(identity), ..record.clone() };
    records.write(&running)?;
    // Only now: the phase of a launch that fails says what becomes of its disk.
    *record = running;
    Ok(())
}

/// A launch that failed, with what exists of it.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) record: Record,
    pub(crate) pidfd: Option<OwnedFd>,
    pub(crate) error: Error,
}

impl Steps {
    fn of(ops: &[Op<'_>]) -> Self {
        let mut steps = Self { child: ops.iter().map(Op::describe).collect(), init: Vec::new() };
        for op in ops {
            if let Op::ForkInit(init) = op {
                steps.init = init.iter().map(Op::describe).collect();
            }
        }
        steps
    }

    fn error(&self, failure: Failure) -> Error {
        let Failure { process, index, errno } = failure;
        let list = match process {
            Process::Child => &self.child,
            Process::Init => &self.init,
        };
        Error::Step { process, index, step: list.get(index).cloned().unwrap_or_default(), errno }
    }
}
