//! What is in force for a running sandbox, read back from the kernel and compared with what must be: what its spec says.
//!
//! Everything comes from the host's `/proc` directory of the agent, from the sandbox's cgroup files, and from the
//! file system of its disk. The agent is not asked, no path inside the sandbox is resolved, no namespace is entered:
//! `/proc/PID/ns/*` are read as links. What cannot be read does not hold.

mod mounts;
mod process;

use crate::cgroup::Groups;
use crate::cgroup::knobs::Knob;
use crate::digests::Digests;
use crate::error::Result;
use crate::record::{Identity, Record};
use crate::spec::{self, part};
use bulkhead_protocol::isolation::{Isolation, Item, WallKind};
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use oci_spec::runtime::Spec;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::linux::fs::MetadataExt;

/// Longest file of `/proc` that is read: a mount table of ours has some 10 KiB.
const MAX_FILE: u64 = 256 << 10;

/// Where a sandbox lives, and what it is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) groups: &'a Groups,
    pub(crate) spec: &'a Spec,
    /// What this release would install for it.
    pub(crate) filters: &'a Digests,
}

/// What can be read of a process; tests fill it in.
trait Readings {
    /// A file of `/proc/PID`.
    fn text(&self, name: &str) -> Option<String>;
    /// The target of a link of `/proc/PID`.
    fn link(&self, name: &str) -> Option<String>;
}

/// Everything that was read.
struct Seen<'a> {
    agent: &'a dyn Readings,
    /// This process, and one in the host's mount namespace, where this one is not: none of their namespaces may be a
    /// sandbox's.
    host: [&'a dyn Readings; 2],
    /// Inode of the user namespace that owns the sandbox's network.
    network_owner: Option<u64>,
    /// Limits of the group and what its files say.
    knobs: Vec<(Knob, Option<String>)>,
    /// Limit of the disk in bytes.
    disk: Option<u64>,
}

/// Everything that must be.
struct Wanted<'a> {
    record: &'a Record,
    /// What a launch of it would be made from.
    spec: &'a Spec,
    /// Words of the hierarchies in `/proc/PID/cgroup`.
    hierarchies: Vec<&'static str>,
    filters: &'a Digests,
}

/// Looks at a sandbox, whose spec is `spec`; `None` when its agent is gone.
///
/// # Errors
/// [`crate::error::Error::Spec`]: it lacks what is compared with.
pub(crate) fn inspect(
    record: &Record,
    identity: Identity,
    place: Place<'_>,
    disk: Option<u64>,
) -> Result<Option<Isolation>> {
    let Place { groups, spec, filters } = place;
    let found = || {
        let own = Process::of(std::process::id().try_into().ok()?)?;
        Some((Process::open(identity)?, own, outside()?))
    };
    let Some((agent, own, outside)) = found() else { return Ok(None) };
    let resources = part(spec::linux(spec)?.resources(), "linux.resources")?;
    let knobs = match groups.get(&record.id).ok().flatten() {
        Some(group) => groups.read_back(&group, resources)?,
        None => Vec::new(),
    };
    let seen =
        Seen { agent: &agent, host: [&own, &outside], network_owner: agent.owner_of_network(), knobs, disk };
    let wanted = Wanted { record, spec, hierarchies: groups.hierarchies(), filters };
    let modules = bulkhead_sys::lsm::modules().into_iter().map(str::to_owned).collect();
    let report = Isolation { items: compare(&wanted, &seen)?, modules };
    // It may have died while it was read: then the answer is about nobody.
    Ok(agent.lives().then_some(report))
}

/// The first process of the host; where that does not let itself be looked at, who started this one.
fn outside() -> Option<Process> {
    let parent = nix::unistd::getppid().as_raw();
    [1, parent].into_iter().filter_map(Process::of).find(|process| process.link("ns/mnt").is_some())
}

fn compare(wanted: &Wanted<'_>, seen: &Seen<'_>) -> Result<Vec<Item>> {
    let mut items = process::namespaces(wanted.spec, seen)?;
    items.extend(process::ids(wanted.spec, seen.agent)?);
    items.extend(process::privileges(wanted.spec, seen.agent)?);
    items.extend(process::filter(wanted, seen.agent));
    items.extend(process::limits(wanted.spec, seen.agent)?);
    items.extend(group(wanted, seen)?);
    items.push(Item::equal(
        WallKind::Disk,
        "bytes",
        &wanted.record.limits.disk_bytes.to_string(),
        seen.disk.map(|bytes| bytes.to_string()),
    ));
    items.extend(mounts::items(wanted.spec, wanted.record.listed, seen.agent)?);
    Ok(items)
}

/// The files of the group, and that the agent is in it in every hierarchy.
fn group(wanted: &Wanted<'_>, seen: &Seen<'_>) -> Result<Vec<Item>> {
    let group = part(spec::linux(wanted.spec)?.cgroups_path(), "linux.cgroupsPath")?.to_string_lossy();
    let table = seen.agent.text("cgroup");
    let path_in = |hierarchy: &str| {
        let carries = |controllers: &str| {
            if hierarchy.is_empty() {
                controllers.is_empty()
            } else {
                controllers.split(',').any(|c| c == hierarchy)
            }
        };
        table.as_deref()?.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            carries(controllers).then(|| path.to_owned())
        })
    };
    let member = |hierarchy: &&'static str| {
        let name = if hierarchy.is_empty() { "member of v2" } else { hierarchy };
        // What is above depends on where this process stands.
        let below = |path: &str| path.ends_with(&*group);
        Item::new(WallKind::GroupLimits, name, &group, path_in(hierarchy), below)
    };
    let mut items: Vec<_> = wanted.hierarchies.iter().map(member).collect();
    items.extend(seen.knobs.iter().map(|(knob, text)| {
        Item::new(WallKind::GroupLimits, &knob.file, &knob.value, text.clone(), |text| knob.reads(text))
    }));
    if seen.knobs.is_empty() {
        items.push(Item::equal(WallKind::GroupLimits, "files", "readable", None));
    }
    Ok(items)
}

/// A process by the directory that `/proc` has of it: what is read through it is of this process or fails, whoever
/// gets its number.
#[derive(Debug)]
struct Process {
    pid: i32,
    directory: OwnedFd,
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = nix::fcntl::open(format!("/proc/{pid}").as_str(), flags, Mode::empty()).ok()?;
        Some(Self { pid, directory })
    }

    fn open(identity: Identity) -> Option<Self> {
        let process = Self::of(identity.pid)?;
        (process.identity() == Some(identity)).then_some(process)
    }

    fn identity(&self) -> Option<Identity> {
        Identity::from_stat(self.pid, &self.text("stat")?)
    }

    fn lives(&self) -> bool {
        // Its namespaces go with its death, before its entry here does.
        self.link("ns/mnt").is_some()
    }

    /// Inode of the user namespace that owns the network. The descriptor of it is asked, never entered.
    fn owner_of_network(&self) -> Option<u64> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let network = openat(&self.directory, "ns/net", flags, Mode::empty()).ok()?;
        let owner = bulkhead_sys::net::owner(&network).ok()?;
        Some(std::fs::File::from(owner).metadata().ok()?.st_ino())
    }
}

impl Readings for Process {
    fn text(&self, name: &str) -> Option<String> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file = std::fs::File::from(openat(&self.directory, name, flags, Mode::empty()).ok()?);
        let mut text = String::new();
        let read = file.take(MAX_FILE).read_to_string(&mut text).ok()?;
        // Cut short is not read.
        (u64::try_from(read).ok()? < MAX_FILE).then_some(text)
    }

    fn link(&self, name: &str) -> Option<String> {
        readlinkat(&self.directory, name).ok()?.into_string().ok()
    }
}

#[cfg(test)]
mod tests;
