//! What a sandbox is told about its machine: true numbers where the kernel would tell the host's.
//!
//! `/proc` and `/sys` of the kernel know nothing of limits. Instead of a file system in user space, a few small
//! files in memory lie over them:
//!
//! | path | what it says | kept |
//! | --- | --- | --- |
//! | `/proc/meminfo`, `/sys/fs/cgroup/memory.current` | the sandbox's limit and what it uses | by the agent, at each exec and once a second while one runs |
//! | `/proc/cpuinfo`, `/sys/devices/system/cpu/*` | as many processors as it has | from the launch |
//! | `/proc/stat` | the same number of rows, all zero, and the time of the launch | from the launch |
//! | `/proc/loadavg` | zero | for ever: the host's would tell what neighbours do |
//! | `/sys/fs/cgroup` | limits, in the layouts of both versions | from the launch |
//!
//! Everything here belongs to host root, who has no id inside: nobody in a sandbox can change it.

use crate::error::{Doing, Result};
use crate::processors::Processors;
use bulkhead_protocol::Limits;
use bulkhead_protocol::agent::LEAVES;
use bulkhead_protocol::meminfo::Memory;
use bulkhead_sys::call::mount::{self, Depth, attr};
use bulkhead_sys::error::Context;
use bulkhead_sys::filesystem;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::CStr;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Files over `/proc`, in the directory of the sandbox's own below `/sys`.
pub(crate) const OWN_OVER_PROC: [&str; 3] = ["meminfo", "cpuinfo", "stat"];
/// Files over `/proc` that all sandboxes share.
pub(crate) const SHARED_OVER_PROC: [&str; 2] = ["loadavg", "cgroups"];
/// Where the sandbox's own files stand.
pub(crate) const OWN: &str = "sys/sandbox";
/// Where the shared files stand.
pub(crate) const SHARED: &str = "sys/host";
/// The empty directory over what is hidden of `/proc`. One for all: a file system of its own for each would be counted
/// in every memory group of the host, which a launch then has to make larger.
pub(crate) const EMPTY: &str = "sys/host/empty";
/// Length of a period of cpu accounting in microseconds.
const PERIOD_US: u64 = 100_000;
/// Links from the places where programs look to the sandbox's own files.
const CPU_LISTS: [&str; 3] = ["online", "possible", "present"];
/// In `/sys/fs/cgroup` and in what stands for a leaf of it: the name there, and the file that it leads to.
const UNIFIED_LINKS: [(&str, &str); 7] = [
    ("memory.max", "memory.max"),
    ("memory.high", "none.max"),
    ("memory.swap.max", "none"),
    ("memory.current", "memory.current"),
    ("memory.swap.current", "none"),
    ("cpu.max", "cpu.max"),
    ("pids.max", "pids.max"),
];
/// What stands for every leaf: commands live in leaves without limits of their own, so the sandbox's hold. Not a link
/// to the top, in which a program that follows links would never end.
const LEAF: &str = "leaf";
/// The same for programs that look for hierarchies of version 1.
const SPLIT_LINKS: [(&str, &str); 7] = [
    ("memory/memory.limit_in_bytes", "memory.max"),
    ("memory/memory.memsw.limit_in_bytes", "memory.max"),
    ("memory/memory.soft_limit_in_bytes", "memory.max"),
    ("memory/memory.usage_in_bytes", "memory.current"),
    ("cpu/cpu.cfs_quota_us", "cpu.quota"),
    ("cpu/cpu.cfs_period_us", "cpu.period"),
    ("pids/pids.max", "pids.max"),
];

/// What all sandboxes share, made once in the runtime's private mount namespace.
#[derive(Debug)]
pub(crate) struct View {
    sys: OwnedFd,
    cgroup: OwnedFd,
}

/// The mounts of one sandbox, detached.
#[derive(Debug)]
pub(crate) struct OwnView {
    /// For `/sys`.
    pub(crate) sys: OwnedFd,
    /// For [`OWN`].
    pub(crate) own: OwnedFd,
    /// For `/sys/fs/cgroup`.
    pub(crate) cgroup: OwnedFd,
    /// `/proc/meminfo`, for the agent to write.
    pub(crate) meminfo: OwnedFd,
    /// `memory.current`, for the agent to write.
    pub(crate) memory_current: OwnedFd,
}

impl View {
    /// Makes the shared part; `mounts` is a directory of ours that nobody else may enter.
    pub(crate) fn make(mounts: &Path) -> Result<Self> {
        shared(mounts).doing("make a /sys")
    }

    /// The view of one sandbox.
    pub(crate) fn of(&self, limits: &Limits, processors: &Processors) -> Result<OwnView> {
        let copy = |mount: &OwnedFd| mount::open_tree(mount.as_fd(), c"", Depth::One);
        let made = || -> bulkhead_sys::Result<OwnView> {
            let (own, meminfo, memory_current) = own(limits, processors)?;
            Ok(OwnView {
                sys: copy(&self.sys).during("open_tree", || "/sys".into())?,
                own,
                cgroup: copy(&self.cgroup).during("open_tree", || "/sys/fs/cgroup".into())?,
                meminfo,
                memory_current,
            })
        };
        made().doing("make a view of limits")
    }
}

fn shared(mounts: &Path) -> bulkhead_sys::Result<View> {
    let sys = attached(&mounts.join("sys"))?;
    directories(sys.as_fd(), &["devices", "devices/system", "devices/system/cpu", "fs", "fs/cgroup"])?;
    directories(sys.as_fd(), &["sandbox", "host", "host/empty"])?;
    for name in CPU_LISTS {
        link(sys.as_fd(), "/sys/sandbox/cpus", &format!("devices/system/cpu/{name}"))?;
    }
    write(sys.as_fd(), "host/loadavg", "0.00 0.00 0.00 1/1 1\n")?;
    // All in the unified hierarchy: the tree in which a program then looks is ours on every host.
    let rows = ["cpuset", "cpu", "cpuacct", "memory", "pids"].map(|name| format!("{name}\t0\t1\t1\n"));
    let heading = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n";
    write(sys.as_fd(), "host/cgroups", &format!("{heading}{}", rows.concat()))?;
    let cgroup = attached(&mounts.join("cgroup"))?;
    directories(cgroup.as_fd(), &["memory", "cpu", "pids", LEAF])?;
    write(cgroup.as_fd(), "cgroup.controllers", "cpu memory pids\n")?;
    for (name, file) in UNIFIED_LINKS.into_iter().chain(SPLIT_LINKS) {
        link(cgroup.as_fd(), &format!("/sys/sandbox/{file}"), name)?;
    }
    for (name, file) in UNIFIED_LINKS {
        link(cgroup.as_fd(), &format!("/sys/sandbox/{file}"), &format!("{LEAF}/{name}"))?;
    }
    for leaf in 0..LEAVES {
        link(cgroup.as_fd(), LEAF, &leaf.to_string())?;
    }
    for mount in [&sys, &cgroup] {
        let closed = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
        mount::set_attributes(mount.as_fd(), closed, 0, None, Depth::One)
            .during("mount_setattr", || "/sys".into())?;
    }
    Ok(View { sys, cgroup })
}

/// The files of one sandbox, with the two that stay open.
fn own(limits: &Limits, processors: &Processors) -> bulkhead_sys::Result<(OwnedFd, OwnedFd, OwnedFd)> {
    let mount = memory_files(c"64k", c"24")?;
    let count = processors.count;
    let quota = u64::from(limits.cpu_millis) * PERIOD_US / 1000;
    let meminfo = Memory { total: limits.memory_bytes, ..Memory::default() };
    let constant = [
        ("cpuinfo", processors.cpuinfo()),
        ("stat", stat(count)),
        ("cpus", list(count)),
        ("memory.max", format!("{}\n", limits.memory_bytes)),
        ("none", "0\n".to_owned()),
        ("none.max", "max\n".to_owned()),
        ("cpu.max", format!("{quota} {PERIOD_US}\n")),
        ("cpu.quota", format!("{quota}\n")),
        ("cpu.period", format!("{PERIOD_US}\n")),
        ("pids.max", format!("{}\n", limits.pids)),
    ];
    for (name, text) in &constant {
        write(mount.as_fd(), name, text)?;
    }
    let meminfo = write(mount.as_fd(), "meminfo", &meminfo.text())?;
    let current = write(mount.as_fd(), "memory.current", "0\n")?;
    Ok((mount, meminfo, current))
}

fn list(count: usize) -> String {
    if count == 1 { "0\n".to_owned() } else { format!("0-{}\n", count - 1) }
}

fn stat(count: usize) -> String {
    let row = |name: String| format!("{name} 0 0 0 0 0 0 0 0 0 0\n");
    let rows: String = (0..count).map(|number| row(format!("cpu{number}"))).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    format!(
        "{}{rows}intr 0\nctxt 0\nbtime {}\nprocesses 1\nprocs_running 1\nprocs_blocked 0\nsoftirq 0\n",
        row("cpu ".to_owned()),
        now.as_secs()
    )
}

/// A file system in memory that stands at `place`, so that copies of it can be made.
fn attached(place: &Path) -> bulkhead_sys::Result<OwnedFd> {
    let made = memory_files(c"256k", c"256")?;
    filesystem::stand(made.as_fd(), place)?;
    Ok(made)
}

fn memory_files(size: &CStr, files: &CStr) -> bulkhead_sys::Result<OwnedFd> {
    let options = [(c"size", size), (c"nr_inodes", files), (c"mode", c"0755")];
    filesystem::make(c"tmpfs", &options, attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

fn directories(at: BorrowedFd<'_>, names: &[&str]) -> bulkhead_sys::Result<()> {
    let mode = Mode::from_bits_truncate(0o755);
    names.iter().try_for_each(|name| mkdirat(at, *name, mode).during("mkdirat", || (*name).to_owned()))
}

fn link(at: BorrowedFd<'_>, target: &str, name: &str) -> bulkhead_sys::Result<()> {
    nix::unistd::symlinkat(target, at, name).during("symlinkat", || name.to_owned())
}

/// Makes a file with this text and gives it back, open for writing.
fn write(at: BorrowedFd<'_>, name: &str, text: &str) -> bulkhead_sys::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let label = || name.to_owned();
    let made = openat(at, name, flags, Mode::from_bits_truncate(0o444)).during("openat", label)?;
    let mut file = std::fs::File::from(made);
    file.write_all(text.as_bytes()).during("write", label)?;
    Ok(file.into())
}
