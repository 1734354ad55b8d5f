//! The state of the host that no sandbox may change, whoever else works on it: tests run beside each other, so
//! what their servers make (mounts, groups, loop devices below `/tmp/bh-…`) is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

/// Beginnings of names below `/proc/sys` that change by themselves, or do something when they are read.
const RESTLESS: [&str; 15] = [
    "fs/aio-nr",
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-",
    "fs/quota",
    "kernel/ns_last_pid",
    // The kernel lowers it when a machine stood still.
    "kernel/perf_event_max_sample_rate",
    "kernel/pty/nr",
    "kernel/random",
    "kernel/sched_domain",
    "net/ipv4/route/flush",
    "net/ipv6/route/flush",
    "net/netfilter/nf_conntrack_count",
    "vm/stat_refresh",
    "vm/drop_caches",
];
/// Words of the kernel's log that no attack may cause.
const ALARMS: [&str; 6] = ["BUG:", "WARNING:", "Oops", "general protection", "soft lockup", "hung_task"];
/// What directories of servers of the harness are called.
const OF_TESTS: &str = "/bh-";
/// What the canary file holds.
const CANARY: &str = "of the host";

#[derive(Debug)]
pub(super) struct Host {
    sysctls: BTreeMap<String, String>,
    lines: BTreeMap<&'static str, BTreeSet<String>>,
    file: tempfile::NamedTempFile,
    port: TcpListener,
    name: UnixListener,
}

impl Host {
    pub(super) fn look() -> Self {
        let file = tempfile::Builder::new().prefix("canary-").tempfile().expect("a canary file");
        fs::write(file.path(), CANARY).expect("own file");
        let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        fs::set_permissions(file.path(), everybody).expect("own file");
        let port = TcpListener::bind("127.0.0.1:0").expect("a free port");
        port.set_nonblocking(true).expect("own socket");
        let address = SocketAddr::from_abstract_name(file.path().as_os_str().as_encoded_bytes());
        let name = UnixListener::bind_addr(&address.expect("a short name")).expect("a free name");
        name.set_nonblocking(true).expect("own socket");
        Self { sysctls: sysctls(), lines: lines(), file, port, name }
    }

    pub(super) fn assert_unchanged(&self) {
        let now = sysctls();
        let changed: Vec<_> = self
            .sysctls
            .iter()
            .filter(|(name, value)| now.get(*name).is_some_and(|new| new != *value))
            .map(|(name, value)| format!("{name}: {value} became {}", now[name]))
            .collect();
        assert!(changed.is_empty(), "settings of the host changed: {changed:#?}");
        for (what, after) in lines() {
            let before = &self.lines[what];
            let new: Vec<_> = after.difference(before).collect();
            assert!(new.is_empty(), "{what} of the host that were not there before: {new:#?}");
        }
        assert_eq!(fs::read_to_string(self.file.path()).expect("own file"), CANARY, "the canary file");
        assert!(self.port.accept().is_err(), "somebody connected to the canary's port");
        assert!(self.name.accept().is_err(), "somebody connected to the canary's abstract name");
    }
}

/// Every setting that can be read, by its path below `/proc/sys`.
fn sysctls() -> BTreeMap<String, String> {
    let root = Path::new("/proc/sys");
    let mut todo: Vec<PathBuf> = vec![root.to_owned()];
    let mut found = BTreeMap::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if RESTLESS.iter().any(|restless| name.starts_with(restless)) {
                continue;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                todo.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                found.insert(name, text);
            }
        }
    }
    found
}

/// What may only be what it was: a line more is a change.
fn lines() -> BTreeMap<&'static str, BTreeSet<String>> {
    BTreeMap::from([
        ("mounts", mounts()),
        ("network interfaces", names(Path::new("/sys/class/net"))),
        ("modules", first_words("/proc/modules")),
        ("release agents", release_agents()),
        ("loop devices", loops()),
        ("keys with a payload", keys()),
        ("alarms of the kernel", alarms()),
        ("root's jobs", names(Path::new("/var/spool/cron/crontabs"))),
    ])
}

fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let others = text.lines().filter(|line| !line.contains(OF_TESTS));
    // Without the numbers: who unmounts and mounts again gets others.
    others.filter_map(|line| line.splitn(4, ' ').nth(3).map(str::to_owned)).collect()
}

fn names(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn first_words(path: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

/// The program that the kernel runs when a group of a v1 hierarchy becomes empty.
fn release_agents() -> BTreeSet<String> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let file = |dir: PathBuf| {
        let agent = fs::read_to_string(dir.join("release_agent")).ok()?;
        Some(format!("{} {}", dir.display(), agent.trim()))
    };
    hierarchies.filter_map(|entry| file(entry.path())).collect()
}

fn loops() -> BTreeSet<String> {
    let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let backing = devices.filter_map(|d| fs::read_to_string(d.path().join("loop/backing_file")).ok());
    backing.map(|file| file.trim().to_owned()).filter(|file| !file.contains(OF_TESTS)).collect()
}

/// Keys that hold something; the empty rings of sessions come and go.
fn keys() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/keys").unwrap_or_default();
    let kind = |line: &&str| line.split_whitespace().nth(7).is_some_and(|kind| kind != "keyring");
    text.lines().filter(kind).filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

/// Lines of the kernel's log that speak of a fault, with their numbers and times.
fn alarms() -> BTreeSet<String> {
    let nonblocking = nix::libc::O_NONBLOCK;
    let Ok(mut log) = fs::OpenOptions::new().read(true).custom_flags(nonblocking).open("/dev/kmsg") else {
        return BTreeSet::new();
    };
    let mut found = BTreeSet::new();
    let mut record = vec![0; 8192];
    loop {
        match log.read(&mut record) {
            Ok(0) => return found,
            Ok(count) => {
                let line = String::from_utf8_lossy(&record[..count]).into_owned();
                if ALARMS.iter().any(|alarm| line.contains(alarm)) {
                    found.insert(line);
                }
            }
            // A record was overwritten meanwhile; the next read goes on behind it.
            Err(error) if error.raw_os_error() == Some(nix::libc::EPIPE) => {}
            Err(_) => return found,
        }
    }
}
