//! The mounts of a sandbox, in the order in which they are made.

use super::built;
use crate::error::{Error, Result};
use crate::record::Record;
use crate::roots::Part;
use crate::view;
use bulkhead_protocol::agent::MAX_EXECUTIONS;
use bulkhead_protocol::limits::MIB;
use bulkhead_sys::call::mount::attr;
use oci_spec::runtime::{Mount, MountBuilder};
use std::ffi::{CStr, CString};
use std::path::Path;

/// Before the name of a mount that the runtime made.
const MADE: &str = "made:";
/// Before the path of a file that lies in a mount before this one.
const INSIDE: &str = "inside:";
/// What the runtime makes for each sandbox, and its names.
pub(crate) const DEV: &str = "made:dev";
pub(crate) const SYS: &str = "made:sys";
pub(crate) const OWN: &str = "made:sandbox";
pub(crate) const GROUP: &str = "made:cgroup";
pub(crate) const LIMITS: &str = "made:limits";
/// The type of a mount whose file system can be any.
pub(crate) const ANY: &str = "none";
/// Terminals of one sandbox: its executions and sessions, and a few for programs like script(1).
const TERMINALS: usize = MAX_EXECUTIONS + 8;
/// Most bytes of /dev/shm, and of any memory file system a quarter of the limit.
const MAX_SHM: u64 = 64 * MIB;
/// How a mount is made, in the words of mount(8), and what each is to the kernel.
const ATTRIBUTES: [(&str, u64); 4] =
    [("ro", attr::RDONLY), ("nosuid", attr::NOSUID), ("nodev", attr::NODEV), ("noexec", attr::NOEXEC)];
/// Words that say that a mount is of something there is.
const BINDS: [&str; 2] = ["bind", "rbind"];
/// Options of the file systems of a sandbox.
const OPTIONS: [&CStr; 7] = [c"newinstance", c"ptmxmode", c"mode", c"gid", c"max", c"size", c"nr_inodes"];
/// File systems that a launch makes.
const KINDS: [&CStr; 4] = [c"devpts", c"tmpfs", c"mqueue", c"proc"];

/// What a mount is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// A detached mount that was made before, under this name: `made:NAME`, or a directory of the host's.
    Handle(&'a str),
    /// A file of the sandbox, by its path.
    Inside(&'a str),
    /// A file system of its own, by its kind.
    New(&'static CStr),
}

/// All mounts of a sandbox.
pub(super) fn of(record: &Record) -> Result<Vec<Mount>> {
    let mut all = record.mounts.clone();
    all.extend(file_systems(record.limits.memory_bytes)?);
    all.extend(views()?);
    Ok(all)
}

fn file_systems(memory: u64) -> Result<Vec<Mount>> {
    let terminals = format!("max={TERMINALS}");
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5", &terminals];
    let [shm, tmp] = [(memory / 4).min(MAX_SHM), memory / 4].map(bounds);
    Ok(vec![
        mount("/dev", "tmpfs", DEV, &["rbind", "ro", "nosuid", "noexec"])?,
        mount("/dev/pts", "devpts", "devpts", &pts)?,
        mount("/dev/shm", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec", &shm[0], &shm[1], "mode=1777"])?,
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "nodev", "noexec"])?,
        mount("/tmp", "tmpfs", "tmpfs", &["nosuid", "nodev", &tmp[0], &tmp[1], "mode=1777"])?,
    ])
}

/// Bounds of a file system in memory, which is charged to the sandbox: in bytes and in files.
fn bounds(bytes: u64) -> [String; 2] {
    [format!("size={bytes}"), format!("nr_inodes={}", (bytes / (16 << 10)).max(1024))]
}

/// What the sandbox is told about its machine (`view`), and the kernel's /proc below it.
fn views() -> Result<Vec<Mount>> {
    let closed = ["bind", "ro", "nosuid", "nodev", "noexec"];
    let mut all = vec![
        mount("/sys", "tmpfs", SYS, &closed)?,
        mount(&format!("/{}", view::OWN), "tmpfs", OWN, &["bind", "nosuid", "nodev", "noexec"])?,
        // The second covers the first: a JVM finds the type in the mount table and then reads what is on top.
        mount("/sys/fs/cgroup", "cgroup2", GROUP, &closed)?,
        mount("/sys/fs/cgroup", "tmpfs", LIMITS, &closed)?,
        mount("/proc", "proc", "proc", &["nosuid", "nodev", "noexec"])?,
    ];
    let own = view::OWN_OVER_PROC.iter().map(|name| (name, view::OWN));
    let shared = view::SHARED_OVER_PROC.iter().map(|name| (name, view::SHARED));
    for (name, directory) in own.chain(shared) {
        all.push(mount(
            &format!("/proc/{name}"),
            "tmpfs",
            &format!("{INSIDE}/{directory}/{name}"),
            &["bind"],
        )?);
    }
    Ok(all)
}

/// A mount that came with the root.
pub(crate) fn of_part(part: &Part) -> Result<Mount> {
    let options = [&["bind"], part.options].concat();
    mount(&format!("/{}", part.at.to_string_lossy()), part.kind, &name_of(part), &options)
}

/// What the spec calls it.
pub(crate) fn name_of(part: &Part) -> String {
    format!("{MADE}root/{}", part.at.to_string_lossy())
}

pub(crate) fn mount(at: &str, kind: &str, source: &str, options: &[&str]) -> Result<Mount> {
    let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
    built(MountBuilder::default().destination(at).typ(kind).source(source).options(options).build())
}

/// Where it stands, relative to the root.
pub(crate) fn at(mount: &Mount) -> Result<&str> {
    let path = mount.destination().to_str().and_then(|path| path.strip_prefix('/'));
    path.ok_or(Error::Spec("a mount without an absolute path"))
}

/// Whether it stands at or below the kernel's /proc.
pub(crate) fn is_of_proc(mount: &Mount) -> bool {
    mount.destination().starts_with("/proc")
}

/// Whether it is a directory of the host's.
pub(crate) fn is_of_host(mount: &Mount) -> bool {
    mount.source().as_deref().is_some_and(Path::is_absolute)
}

pub(crate) fn source(mount: &Mount) -> Result<Source<'_>> {
    let source = mount.source().as_deref().and_then(Path::to_str).ok_or(Error::Spec("a mount of nothing"))?;
    let binds = options(mount).any(|option| BINDS.contains(&option));
    match source.strip_prefix(INSIDE) {
        Some(path) if binds => Ok(Source::Inside(path.trim_start_matches('/'))),
        None if binds => Ok(Source::Handle(source)),
        None => {
            let kind = mount.typ().as_deref().unwrap_or_default();
            let known = KINDS.into_iter().find(|known| known.to_bytes() == kind.as_bytes());
            known.map(Source::New).ok_or(Error::Spec("a file system that no launch makes"))
        }
        Some(_) => Err(Error::Spec("a file that is not bound")),
    }
}

/// How it is mounted: the attributes that every mount can have.
pub(crate) fn attributes(mount: &Mount) -> u64 {
    let bit = |option: &str| ATTRIBUTES.iter().find(|(word, _)| *word == option).map_or(0, |(_, bit)| *bit);
    options(mount).map(bit).fold(0, std::ops::BitOr::bitor)
}

/// The words of those attributes, as a mount table has them.
pub(crate) fn attribute_words(mount: &Mount) -> Vec<&str> {
    options(mount).filter(|option| ATTRIBUTES.iter().any(|(word, _)| word == option)).collect()
}

/// What its file system is made with.
pub(crate) fn file_system_options(mount: &Mount) -> Result<Vec<(&'static CStr, CString)>> {
    let of_itself =
        |option: &&str| !ATTRIBUTES.iter().any(|(word, _)| word == option) && !BINDS.contains(option);
    let parse = |option: &str| {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let known = OPTIONS.into_iter().find(|known| known.to_bytes() == key.as_bytes());
        let known = known.ok_or(Error::Spec("an option that no file system of a sandbox has"))?;
        Ok((known, CString::new(value).map_err(|_| Error::Spec("a NUL in an option"))?))
    };
    options(mount).filter(of_itself).map(parse).collect()
}

fn options(mount: &Mount) -> impl Iterator<Item = &str> {
    mount.options().iter().flatten().map(String::as_str)
}
