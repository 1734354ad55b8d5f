//! From a request to a running agent: a chain of types that consume one another, so that no step can be left out
//! or done twice. Undoing is one thing for all of them, the end of a sandbox (`server/ending.rs`): everything that a sandbox owns is
//! named by its id, so undo needs no memory of how far the launch came.

mod clock;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod order;

use crate::cgroup::{Group, Groups};
use crate::dev;
use crate::error::{Doing, Error, Result};
use crate::failpoint::failpoint;
use crate::identity::Home;
use crate::ids::AGENT_ID;
use crate::masks::Masks;
use crate::networks::Networks;
use crate::processors::Host;
use crate::record::{Identity, Phase, Record, Records};
use crate::rlimits::Ceilings;
use crate::roots::{Root, Roots, Wish};
use crate::spec::{self, Template, mounts};
use crate::view::{OwnView, View};
use bulkhead_protocol::runtime::Disk;
use bulkhead_sys::error::Context;
use bulkhead_sys::op::Op;
use bulkhead_sys::report::{Failure, Process};
use bulkhead_sys::spawn::{Child, Outcome, spawn_apart};
use bulkhead_sys::userns::IdRange;
use bulkhead_sys::{fd, userns};
pub(crate) use clock::{Clock, Times};
use oci_spec::runtime::Spec;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// What all launches share, made once.
#[derive(Debug)]
pub(crate) struct Launcher {
    agent: OwnedFd,
    dev: dev::Template,
    view: View,
    pub(crate) host: Host,
    filter: Vec<libc::sock_filter>,
    pub(crate) home: Home,
    /// What the specs of all sandboxes share.
    pub(crate) template: Template,
}

impl Launcher {
    /// Seals the agent's program and makes the templates; `mounts` is a directory of ours.
    pub(crate) fn new(agent: &[u8], mounts: &Path, instance: &str, huge_pages: &[String]) -> Result<Self> {
        let home = Home::remember()?;
        let template = Template::new(spec::Host {
            instance,
            ceilings: Ceilings::read()?,
            huge_pages,
            masks: &Masks::for_this_host(),
            time_namespaces: home.time_namespaces(),
        })?;
        Ok(Self {
            agent: fd::high(&fd::sealed_program(c"bulkhead-agent", agent).doing("seal the agent")?)
                .doing("seal the agent")?,
            dev: dev::Template::make(&mounts.join("dev"))?,
            view: View::make(mounts)?,
            host: Host::read()?,
            filter: template.filter()?,
            home,
            template,
        })
    }
}

/// Recorded, nothing made yet.
#[derive(Debug)]
pub(crate) struct Prepared {
    record: Record,
    spec: Spec,
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
    pub(crate) fn record(records: &Records, record: Record, spec: Spec, disk: Disk) -> Result<Self> {
        records.write(&record)?;
        Ok(Self { record, spec, disk })
    }

    /// Makes the cgroups; their limits are in force before anything lives in them.
    pub(crate) fn limit(self, groups: &Groups) -> Result<InCgroup> {
        let resources = spec::part(spec::linux(&self.spec)?.resources(), "linux.resources")?;
        let group = groups.create(&self.record.id, resources)?;
        Ok(InCgroup { prepared: self, group })
    }
}

impl InCgroup {
    /// Makes the disk and the root, whose mounts become part of the record and the spec.
    pub(crate) fn root(mut self, roots: &mut dyn Roots) -> Result<Rooted> {
        let Prepared { record, spec, disk } = &mut self.prepared;
        let disk_bytes = record.limits.disk_bytes;
        #[cfg(feature = "weaken")]
        let disk_bytes = crate::weaken::disk_bytes(disk_bytes);
        let wish = Wish {
            id: &record.id,
            image: &record.image,
            hostname: spec::part(spec.hostname(), "hostname")?,
            range: id_range(spec)?,
            disk: *disk,
            disk_bytes,
        };
        let root = roots.prepare(wish).map_err(Error::Root)?;
        let parts = root.parts.iter().map(mounts::of_part).collect::<Result<Vec<_>>>()?;
        record.mounts.splice(..0, parts.iter().cloned());
        spec.mounts_mut().get_or_insert_default().splice(..0, parts);
        Ok(Rooted { in_cgroup: self, root })
    }
}

impl Rooted {
    /// Clones the first process; `listener` is the agent's socket, `of_host` what the operator shows.
    pub(crate) fn clone_child(
        self,
        launcher: &Launcher,
        networks: &mut Networks,
        listener: &OwnedFd,
        of_host: Vec<(String, OwnedFd)>,
    ) -> Result<Cloned> {
        let Self { in_cgroup, root } = self;
        let Prepared { record, spec, .. } = &in_cgroup.prepared;
        let range = id_range(spec)?;
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
        let mut handles = handles(&root, &view, dev.as_fd(), shown.as_fd());
        handles.extend(of_host.iter().map(|(source, mount)| (source.clone(), mount.as_fd())));
        let (wait, go) = high_pipe()?;
        let inputs = order::Inputs {
            spec,
            agent: launcher.agent.as_fd(),
            filter: &launcher.filter,
            wait: wait.as_fd(),
            go: go.as_fd(),
            tasks: tasks.iter().map(AsFd::as_fd).collect(),
            root: root.root.as_fd(),
            handles,
            descriptors: descriptors.iter().map(AsFd::as_fd).collect(),
        };
        let ops = order::steps(&inputs)?;
        #[cfg(feature = "weaken")]
        let ops = crate::weaken::steps(ops);
        let steps = Steps::of(&ops);
        let namespaces = order::clone_flags(spec)?;
        #[cfg(feature = "weaken")]
        let namespaces = crate::weaken::namespaces(namespaces);
        let unified = group.unified.as_fd();
        let clone = || {
            failpoint!(LaunchAway);
            spawn_apart(&ops, namespaces, Some(unified)).doing("clone")
        };
        let child = launcher.home.away(range.base, networks, clone)?;
        drop(ops);
        Ok(Cloned { in_cgroup, range, child, go, steps })
    }
}

/// The ids of a sandbox.
fn id_range(spec: &Spec) -> Result<IdRange> {
    let mapping = spec::id_mapping(spec)?;
    Ok(IdRange { base: mapping.host_id(), count: mapping.size() })
}

/// What the words of a spec mean, for one launch.
fn handles<'a>(
    root: &'a Root,
    view: &'a OwnView,
    dev: BorrowedFd<'a>,
    shown: BorrowedFd<'a>,
) -> BTreeMap<String, BorrowedFd<'a>> {
    let ours = [
        (mounts::DEV, dev),
        (mounts::SYS, view.sys.as_fd()),
        (mounts::OWN, view.own.as_fd()),
        (mounts::GROUP, shown),
        (mounts::LIMITS, view.cgroup.as_fd()),
    ];
    let mut all: BTreeMap<_, _> = ours.into_iter().map(|(name, mount)| (name.to_owned(), mount)).collect();
    for part in &root.parts {
        all.insert(mounts::name_of(part), part.mount.as_fd());
    }
    all
}

/// A pipe at numbers that laying out the child's does not overwrite. Each end exists once: a second writing end, which the
/// child would not close, would keep it waiting for a parent that is gone.
fn high_pipe() -> Result<(OwnedFd, OwnedFd)> {
    let ends = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).during("pipe2", String::new);
    let (reader, writer) = ends.doing("clone")?;
    let high = |end| fd::high(&end).doing("move a descriptor out of the way");
    Ok((high(reader)?, high(writer)?))
}

impl Cloned {
    /// Writes the id maps and lets the child go on.
    ///
    /// # Errors
    /// [`Failed`]: the child ends by itself, and has to be waited for.
    pub(crate) fn map(self) -> std::result::Result<Mapped, Box<Failed>> {
        let Self { in_cgroup: InCgroup { prepared, .. }, range, child, go, steps } = self;
        let Prepared { record, spec, .. } = prepared;
        match let_go(&spec, range, child.pid, &go) {
            Ok(()) => Ok(Mapped { record, child, steps }),
            Err(error) => Err(Box::new(Failed { record, pidfd: Some(child.pidfd), error })),
        }
    }
}

fn let_go(spec: &Spec, range: IdRange, pid: i32, go: &OwnedFd) -> Result<()> {
    let mapping = spec::id_mapping(spec)?;
    let extent = userns::Extent { inside: mapping.container_id(), outside: range.base, count: range.count };
    userns::write_maps(pid, &[extent]).doing("write the id maps")?;
    let score = spec::process(spec)?.oom_score_adj();
    let score = score.ok_or(Error::Spec("process.oomScoreAdj"))?;
    let path = format!("/proc/{pid}/oom_score_adj");
    std::fs::write(&path, score.to_string()).during("write", || path).doing("raise the agent's oom score")?;
    nix::unistd::write(go, b"g").during("write", || "go".into()).doing("let the child go on").map(drop)
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
