//! Control groups of sandboxes.
//!
//! One group per sandbox carries its limits and is written before its first process exists. Membership, kill and
//! events go through the v2 tree, which hybrid hosts have too; only limits and counters have two back ends
//! ([`knobs`]). All below `<hierarchy>/<parent>/<instance>/<sandbox>`, so that a name is enough to find and remove it;
//! a [`parent`] other than the root is somebody else's, as a slice of systemd's.
//!
//! Never writes a pid to `cgroup.procs`: on an idle host that one write waits 9 ms for an RCU grace period.

mod birth;
mod events;
pub(crate) mod imports;
pub(crate) mod knobs;
mod layout;
mod parent;
mod usage;

use crate::error::{Doing, Error, Result};
use crate::instance::Instance;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::Life;
use bulkhead_sys::call::mount;
use bulkhead_sys::error::Context;
pub(crate) use events::Events;
pub(crate) use knobs::{Bounds, Knob};
use layout::HugePages;
pub(crate) use layout::{Layout, Stand};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, unlinkat};
use oci_spec::runtime::LinuxResources;
pub use parent::CgroupParent;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// The groups of an instance: one directory in the v2 tree and, on hybrid hosts, one per v1 controller.
#[derive(Debug)]
pub(crate) struct Groups {
    unified: OwnedFd,
    v1: Vec<(&'static str, OwnedFd)>,
    layout: Layout,
    parent: CgroupParent,
}

/// The group of one sandbox.
#[derive(Debug)]
pub(crate) struct Group {
    /// Its directory in the v2 tree.
    pub(crate) unified: OwnedFd,
    /// Its directories in v1 hierarchies, by controller.
    v1: Vec<(&'static str, OwnedFd)>,
}

impl Groups {
    /// The groups of an instance that starts, below `parent` unless sandboxes of an earlier start run elsewhere.
    pub(crate) fn start(instance: &Instance, parent: CgroupParent) -> Result<Self> {
        let layout = Layout::detect(Stand::At(&instance.run_dir.join("mounts/unified")))?;
        let parent = parent.settle(&instance.name, &instance.state_dir, &layout)?;
        Self::open(&instance.name, layout, parent)
    }

    /// The groups that the instance of a state directory used last.
    pub(crate) fn last(instance: &str, state_dir: &Path) -> Result<Self> {
        let layout = Layout::detect(Stand::Nowhere)?;
        let last = CgroupParent::read(state_dir)?;
        // With a slice went everything below it.
        let parent = if last.path(&layout.unified).exists() { last } else { CgroupParent::default() };
        Self::open(instance, layout, parent)
    }

    /// Makes the instance's directories.
    fn open(instance: &str, layout: Layout, parent: CgroupParent) -> Result<Self> {
        let top = parent.path(&layout.unified);
        if !top.exists() {
            let problem = "does not exist: start the unit that keeps this cgroup, or change cgroup-parent";
            return Err(Error::Directory { path: top, problem });
        }
        let unified = instance_directory(&top, instance).doing("make the instance's cgroup")?;
        let mut v1 = Vec::new();
        for (controller, path) in &layout.v1 {
            v1.push((*controller, instance_directory(path, instance).doing("make the instance's cgroup")?));
        }
        let groups = Self { unified, v1, layout, parent };
        groups.layout.enable_controllers(&groups.parent, groups.unified.as_fd())?;
        Ok(groups)
    }

    /// Makes the group of a new sandbox with its limits in force.
    pub(crate) fn create(&self, id: &SandboxId, resources: &LinuxResources) -> Result<Group> {
        let knobs = self.knobs(resources)?;
        #[cfg(feature = "weaken")]
        let knobs = crate::weaken::knobs(knobs);
        self.create_with(id.as_str(), &knobs)
    }

    fn create_with(&self, name: &str, knobs: &[Knob]) -> Result<Group> {
        let mut v1 = Vec::new();
        for (controller, parent) in &self.v1 {
            v1.push((*controller, make(parent.as_fd(), name).doing("make a v1 cgroup")?));
        }
        let unified = make(self.unified.as_fd(), name).doing("make a cgroup")?;
        let group = Group { unified, v1 };
        for knob in knobs {
            group.set(knob).doing("set a limit")?;
        }
        Ok(group)
    }

    /// The group of a sandbox that exists.
    pub(crate) fn get(&self, id: &SandboxId) -> Result<Option<Group>> {
        self.find(id.as_str())
    }

    fn find(&self, name: &str) -> Result<Option<Group>> {
        let mut v1 = Vec::new();
        for (controller, parent) in &self.v1 {
            if let Some(directory) = find(parent.as_fd(), name).doing("open a v1 cgroup")? {
                v1.push((*controller, directory));
            }
        }
        let unified = find(self.unified.as_fd(), name).doing("open a cgroup")?;
        Ok(unified.map(|unified| Group { unified, v1 }))
    }

    /// Whether anything is left of a sandbox's groups.
    pub(crate) fn exists(&self, id: &SandboxId) -> Result<bool> {
        let v1 = self.v1.iter().map(|(_, parent)| parent);
        for parent in std::iter::once(&self.unified).chain(v1) {
            if find(parent.as_fd(), id.as_str()).doing("look for a cgroup")?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the processes of a sandbox stand still, as the kernel says.
    pub(crate) fn life(&self, id: &SandboxId) -> Result<Life> {
        let directory = openat(&self.unified, id.as_str(), DIRECTORY, Mode::empty())
            .during("openat", || id.to_string())
            .doing("open a cgroup")?;
        Ok(Events::open(directory.as_fd())?.read()?.life)
    }

    /// Removes what there is of a sandbox's groups, leaves first. False while something still lives there.
    pub(crate) fn remove(&self, id: &SandboxId) -> Result<bool> {
        self.remove_named(id.as_str())
    }

    fn remove_named(&self, name: &str) -> Result<bool> {
        let mut gone = remove_with_leaves(self.unified.as_fd(), name).doing("remove a cgroup")?;
        for (_, parent) in &self.v1 {
            gone &= remove_directory(parent.as_fd(), name).doing("remove a v1 cgroup")?;
        }
        Ok(gone)
    }

    /// Names of all groups of this instance, whoever knows of them.
    pub(crate) fn list(&self) -> Result<Vec<String>> {
        let mut out = directories(self.unified.as_fd()).doing("list cgroups")?;
        for (_, parent) in &self.v1 {
            out.extend(directories(parent.as_fd()).doing("list v1 cgroups")?);
        }
        out.sort();
        out.dedup();
        Ok(out)
    }

    /// The same without those that a runtime moved into, and those of imports.
    pub(crate) fn list_sandboxes(&self) -> Result<Vec<String>> {
        let mut names = self.list()?;
        names.retain(|name| !birth::is_runtimes_own(name) && !imports::is_imports(name));
        Ok(names)
    }

    /// Removes the instance's own, empty directories.
    pub(crate) fn remove_instance(&self, instance: &str) -> Result<()> {
        let v1 = self.layout.v1.iter().map(|(_, path)| path.clone());
        for path in std::iter::once(self.parent.path(&self.layout.unified)).chain(v1) {
            match std::fs::remove_dir(path.join(instance)) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                done => done
                    .during("rmdir", || path.display().to_string())
                    .doing("remove the instance's cgroup")?,
            }
        }
        Ok(())
    }
}

impl Groups {
    /// What must stand in the files of a sandbox's group, and what does; `None` where it cannot be read.
    pub(crate) fn read_back(
        &self,
        group: &Group,
        resources: &LinuxResources,
    ) -> Result<Vec<(Knob, Option<String>)>> {
        let read = |knob: Knob| {
            let text = group.get(&knob);
            (knob, text)
        };
        Ok(self.knobs(resources)?.into_iter().map(read).collect())
    }

    /// The hierarchies by the word that `/proc/PID/cgroup` has for them; the v2 tree has none.
    pub(crate) fn hierarchies(&self) -> Vec<&'static str> {
        std::iter::once("").chain(self.v1.iter().map(|(controller, _)| *controller)).collect()
    }

    /// Sizes of huge pages that can be bounded on this host.
    pub(crate) fn huge_pages(&self) -> &[String] {
        let HugePages { tree, sizes } = &self.layout.huge_pages;
        if tree.is_some() { sizes } else { &[] }
    }

    fn knobs(&self, resources: &LinuxResources) -> Result<Vec<Knob>> {
        knobs::of(resources, self.layout.kind(), self.layout.huge_pages.tree)
    }
}

impl Group {
    fn get(&self, knob: &Knob) -> Option<String> {
        match open(self.directory(knob), &knob.file, OFlag::O_RDONLY).and_then(read) {
            Ok(text) => Some(text.trim_end().to_owned()),
            // As when it was set: what the kernel does not have needs no limit.
            Err(error) if error.errno == Errno::ENOENT && knob.optional() => Some(knob.value.clone()),
            Err(_) => None,
        }
    }

    fn directory(&self, knob: &Knob) -> BorrowedFd<'_> {
        let v1 = self.v1.iter().find(|(controller, _)| *controller == knob.controller);
        v1.map_or(&self.unified, |(_, directory)| directory).as_fd()
    }

    fn set(&self, knob: &Knob) -> bulkhead_sys::Result<()> {
        match write(self.directory(knob), &knob.file, knob.value.as_bytes()) {
            Err(error) if error.errno == Errno::ENOENT && knob.optional() => Ok(()),
            done => done,
        }
    }

    /// Ends every process in the group and below, whatever it does.
    pub(crate) fn kill(&self) -> Result<()> {
        write(self.unified.as_fd(), "cgroup.kill", b"1").doing("kill a cgroup")
    }

    /// The file that says whether anything lives in the group and whether it stands still.
    pub(crate) fn events(&self) -> Result<Events> {
        Events::open(self.unified.as_fd())
    }

    /// Asks for all processes in the group and below to stand still or to go on. A killed one ends all the same.
    pub(crate) fn turn(&self, to: Life) -> Result<()> {
        let bit: &[u8] = match to {
            Life::Running => b"0",
            Life::Frozen => b"1",
        };
        write(self.unified.as_fd(), "cgroup.freeze", bit).doing("freeze or thaw a cgroup")
    }

    /// Files of the v1 controllers through which a child moves itself by writing `0`.
    pub(crate) fn task_files(&self) -> Result<Vec<OwnedFd>> {
        self.v1
            .iter()
            .map(|(_, directory)| open(directory.as_fd(), "tasks", OFlag::O_WRONLY).doing("open tasks"))
            .collect()
    }

    /// The only handle of cgroups that goes inside: a detached mount, from which `..` leads nowhere. From a plain
    /// directory descriptor it would lead to the host's root. `agent` may make leaves and move processes between
    /// them, nothing else.
    pub(crate) fn agent_handle(&self, agent: u32) -> Result<OwnedFd> {
        let owner = (Some(Uid::from_raw(agent)), Some(Gid::from_raw(agent)));
        nix::unistd::fchown(&self.unified, owner.0, owner.1)
            .during("fchown", || "cgroup".into())
            .doing("delegate a cgroup")?;
        let flags = nix::fcntl::AtFlags::empty();
        nix::unistd::fchownat(&self.unified, "cgroup.procs", owner.0, owner.1, flags)
            .during("fchownat", || "cgroup.procs".into())
            .doing("delegate a cgroup")?;
        mount::open_tree(self.unified.as_fd(), c"", mount::Depth::One)
            .during("open_tree", || "cgroup".into())
            .doing("detach a cgroup")
    }

    /// A file with an `oom_kill N` line, for reading.
    pub(crate) fn oom_counter(&self) -> Result<OwnedFd> {
        let memory = self.v1.iter().find(|(controller, _)| *controller == "memory");
        match memory {
            Some((_, directory)) => open_nameless(directory.as_fd(), "memory.oom_control"),
            None => open_nameless(self.unified.as_fd(), "memory.events"),
        }
        .doing("open the counter of out-of-memory kills")
    }
}

/// The cgroup files from which a sandbox's own view of its memory is made, for reading.
#[derive(Debug)]
pub(crate) struct MemoryFiles {
    pub(crate) usage: OwnedFd,
    pub(crate) stat: OwnedFd,
}

impl Group {
    pub(crate) fn memory_files(&self) -> Result<MemoryFiles> {
        let memory = self.v1.iter().find(|(controller, _)| *controller == "memory");
        let (directory, usage) = match memory {
            Some((_, directory)) => (directory, "memory.usage_in_bytes"),
            None => (&self.unified, "memory.current"),
        };
        let read = |name| open_nameless(directory.as_fd(), name).doing("open a counter of memory");
        Ok(MemoryFiles { usage: read(usage)?, stat: read("memory.stat")? })
    }

    /// A read-only, detached mount of the sandbox's own directory. What counts is its type in the mount table: by it
    /// a JVM knows where to look; it is covered by the files of `view`.
    pub(crate) fn mount_for_show(&self) -> Result<OwnedFd> {
        let mount = mount::open_tree(self.unified.as_fd(), c"", mount::Depth::One)
            .during("open_tree", || "cgroup".into())
            .doing("show a cgroup")?;
        let attributes = mount::attr::RDONLY | mount::attr::NOSUID | mount::attr::NODEV | mount::attr::NOEXEC;
        mount::set_attributes(mount.as_fd(), attributes, 0, None, mount::Depth::One)
            .during("mount_setattr", || "cgroup".into())
            .doing("show a cgroup")?;
        Ok(mount)
    }
}

fn instance_directory(hierarchy: &Path, instance: &str) -> bulkhead_sys::Result<OwnedFd> {
    let parent = nix::fcntl::open(hierarchy, DIRECTORY, Mode::empty())
        .during("open", || hierarchy.display().to_string())?;
    match make(parent.as_fd(), instance) {
        Err(error) if error.errno == Errno::EEXIST => {
            openat(&parent, instance, DIRECTORY, Mode::empty()).during("openat", || instance.to_owned())
        }
        made => made,
    }
}

fn make(parent: BorrowedFd<'_>, name: &str) -> bulkhead_sys::Result<OwnedFd> {
    mkdirat(parent, name, Mode::from_bits_truncate(0o755)).during("mkdirat", || name.to_owned())?;
    openat(parent, name, DIRECTORY, Mode::empty()).during("openat", || name.to_owned())
}

fn find(parent: BorrowedFd<'_>, name: &str) -> bulkhead_sys::Result<Option<OwnedFd>> {
    match openat(parent, name, DIRECTORY, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(None),
        opened => opened.map(Some).during("openat", || name.to_owned()),
    }
}

/// False while something lives in it.
fn remove_directory(parent: BorrowedFd<'_>, name: &str) -> bulkhead_sys::Result<bool> {
    match unlinkat(parent, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::EBUSY | Errno::ENOTEMPTY) => Ok(false),
        Err(errno) => Err(errno).during("unlinkat", || name.to_owned()),
    }
}

/// Removes a group and the leaves that an agent left in it; there is one level of them (`cgroup.max.depth`).
fn remove_with_leaves(parent: BorrowedFd<'_>, name: &str) -> bulkhead_sys::Result<bool> {
    let Some(directory) = find(parent, name)? else { return Ok(true) };
    for leaf in directories(directory.as_fd())? {
        if !remove_directory(directory.as_fd(), &leaf)? {
            return Ok(false);
        }
    }
    remove_directory(parent, name)
}

fn directories(parent: BorrowedFd<'_>) -> bulkhead_sys::Result<Vec<String>> {
    let again = openat(parent, ".", DIRECTORY, Mode::empty()).during("openat", || ".".into())?;
    let mut entries = nix::dir::Dir::from_fd(again).during("fdopendir", String::new)?;
    let mut out = Vec::new();
    for entry in entries.iter() {
        let entry = entry.during("getdents", || "cgroup".into())?;
        let is_directory = entry.file_type() == Some(nix::dir::Type::Directory);
        if let (true, Ok(name)) = (is_directory, entry.file_name().to_str())
            && !name.starts_with('.')
        {
            out.push(name.to_owned());
        }
    }
    Ok(out)
}

fn open(directory: BorrowedFd<'_>, file: &str, flags: OFlag) -> bulkhead_sys::Result<OwnedFd> {
    openat(directory, file, flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW, Mode::empty())
        .during("openat", || file.to_owned())
}

/// Opens a file for reading whose link in `/proc/PID/fd` does not tell where it lies on the host: it lies at the top of
/// a mount of its own. For descriptors that go to an agent.
fn open_nameless(directory: BorrowedFd<'_>, file: &str) -> bulkhead_sys::Result<OwnedFd> {
    let mount =
        mount::open_tree(directory, c"", mount::Depth::One).during("open_tree", || "cgroup".into())?;
    open(mount.as_fd(), file, OFlag::O_RDONLY)
}

fn write(directory: BorrowedFd<'_>, file: &str, bytes: &[u8]) -> bulkhead_sys::Result<()> {
    let opened = open(directory, file, OFlag::O_WRONLY)?;
    std::fs::File::from(opened)
        .write_all(bytes)
        .during("write", || format!("{} to {file}", String::from_utf8_lossy(bytes)))
}

fn read(file: OwnedFd) -> bulkhead_sys::Result<String> {
    let mut text = String::new();
    std::fs::File::from(file).read_to_string(&mut text).during("read", || "cgroup file".into())?;
    Ok(text)
}
