//! Looks around inside a sandbox and prints a [`Report`] as JSON. Static, and it changes nothing: it opens
//! files for writing at most, and never writes.

use bulkhead_inner::{MASKED, Mount, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Enough of a file to know that it says something.
const READ_LIMIT: u64 = 4096;

fn main() {
    let status = text("/proc/self/status");
    let field = |name: &str| field(&status, name);
    let bits = |names: &[&str]| -> BTreeMap<String, u64> {
        let pairs =
            names.iter().map(|n| ((*n).to_owned(), u64::from_str_radix(&field(n), 16).unwrap_or(u64::MAX)));
        pairs.collect()
    };
    let report = Report {
        uids: numbers(&field("Uid")),
        gids: numbers(&field("Gid")),
        groups: numbers(&field("Groups")),
        uid_map: single_blanks(&text("/proc/self/uid_map")),
        gid_map: single_blanks(&text("/proc/self/gid_map")),
        capabilities: bits(&["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]),
        no_new_privs: number(&field("NoNewPrivs")),
        seccomp_mode: number(&field("Seccomp")),
        seccomp_filters: number(&field("Seccomp_filters")),
        umask: field("Umask"),
        namespaces: links("/proc/self/ns"),
        mounts: text("/proc/self/mountinfo").lines().filter_map(mount).collect(),
        descriptors: descriptors(),
        limits: text("/proc/self/limits").lines().skip(1).filter_map(limit).collect(),
        cgroup: text("/proc/self/cgroup"),
        environment: std::env::vars_os().map(|(k, v)| (lossy(&k), lossy(&v))).collect(),
        hostname: text("/proc/sys/kernel/hostname").trim().to_owned(),
        directory: std::env::current_dir().map(|d| lossy(d.as_os_str())).unwrap_or_default(),
        pid: std::process::id(),
        parent: std::os::unix::process::parent_id(),
        pids: names("/proc").iter().filter_map(|name| name.parse().ok()).collect(),
        oom_score_adj: text("/proc/self/oom_score_adj").trim().parse().unwrap_or(i32::MIN),
        interfaces: interfaces(),
        devices: names("/dev").into_iter().map(|name| (name.clone(), device(&name))).collect(),
        readable: MASKED
            .iter()
            .map(|name| ((*name).to_owned(), readable(&format!("/proc/{name}"))))
            .collect(),
        writable_sysctls: writable("/proc/sys"),
    };
    println!("{}", serde_json::to_string(&report).expect("a report is plain data"));
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn lossy(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().into_owned()
}

fn single_blanks(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn field(status: &str, name: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim().to_owned()
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or(u32::MAX)
}

fn numbers(text: &str) -> Vec<u32> {
    text.split_whitespace().map(number).collect()
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| lossy(&entry.file_name())).collect()
}

fn links(dir: &str) -> BTreeMap<String, String> {
    let pairs = names(dir).into_iter().filter_map(|name| {
        let target = fs::read_link(format!("{dir}/{name}")).ok()?;
        Some((name, lossy(target.as_os_str())))
    });
    pairs.collect()
}

/// Open descriptors, without the one that lists them: that one is gone when the links are read.
fn descriptors() -> BTreeMap<u32, String> {
    links("/proc/self/fd").into_iter().map(|(name, target)| (number(&name), target)).collect()
}

fn mount(line: &str) -> Option<Mount> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let (left, right) = line.split_once(" - ")?;
    let left: Vec<&str> = left.split(' ').collect();
    let right: Vec<&str> = right.split(' ').collect();
    Some(Mount {
        root: (*left.get(3)?).to_owned(),
        point: (*left.get(4)?).to_owned(),
        options: list(left.get(5)?),
        propagation: left.iter().skip(6).map(|tag| (*tag).to_owned()).collect(),
        kind: (*right.first()?).to_owned(),
        source: (*right.get(1)?).to_owned(),
        super_options: list(right.get(2)?),
    })
}

/// `Max open files            4096                 4096                 files`: the columns have fixed places.
fn limit(line: &str) -> Option<(String, (String, String))> {
    let value = |range: std::ops::Range<usize>| line.get(range).map(|part| part.trim().to_owned());
    Some((value(0..26)?, (value(26..47)?, value(47..68.min(line.len()))?)))
}

fn interfaces() -> BTreeSet<String> {
    let lines = text("/proc/net/dev");
    lines
        .lines()
        .skip(2)
        .filter_map(|line| line.split(':').next())
        .map(|name| name.trim().to_owned())
        .collect()
}

fn device(name: &str) -> String {
    let path = Path::new("/dev").join(name);
    let Ok(meta) = fs::symlink_metadata(&path) else { return "?".to_owned() };
    let kind = meta.file_type();
    if kind.is_symlink() {
        return format!("link {}", fs::read_link(&path).map(|t| lossy(t.as_os_str())).unwrap_or_default());
    }
    if kind.is_char_device() || kind.is_block_device() {
        let letter = if kind.is_char_device() { 'c' } else { 'b' };
        return format!(
            "{letter} {}:{}",
            nix::sys::stat::major(meta.rdev()),
            nix::sys::stat::minor(meta.rdev())
        );
    }
    if kind.is_dir() { "dir".to_owned() } else { "other".to_owned() }
}

/// Bytes (at most [`READ_LIMIT`]) or entries that can be read; 0 where nothing can.
fn readable(path: &str) -> usize {
    if Path::new(path).is_dir() {
        return names(path).len();
    }
    let nonblocking = nix::fcntl::OFlag::O_NONBLOCK.bits();
    let Ok(file) = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path) else { return 0 };
    let mut bytes = Vec::new();
    file.take(READ_LIMIT).read_to_end(&mut bytes).ok();
    bytes.len()
}

fn writable(root: &str) -> Vec<String> {
    let mut todo = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = lossy(entry.path().as_os_str());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(path);
            } else if fs::OpenOptions::new().write(true).open(&path).is_ok() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
