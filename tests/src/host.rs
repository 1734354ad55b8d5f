//! What the host's `/proc` tells of processes. Everything that vanishes while it is read is left out.

use crate::eventually::eventually;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// First id of the ranges that sandboxes get; nothing else on a host has such ids.
pub const FIRST_SANDBOX_ID: u32 = 1_879_048_192;

/// One process, as it was for a moment.
#[derive(Debug, Clone)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// Its parent's number.
    pub parent: i32,
    /// Real user id.
    pub uid: u32,
    /// One letter of `proc_pid_stat(5)`; `Z` is dead and not yet reaped.
    pub state: char,
    /// Arguments, with spaces between; empty for kernel threads and zombies.
    pub command: String,
    /// Text of `/proc/PID/cgroup`.
    pub cgroup: String,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let status = fs::read_to_string(dir.join("status")).ok()?;
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .and_then(|rest| rest.split_whitespace().next())
        };
        let command = fs::read(dir.join("cmdline")).ok()?;
        Some(Self {
            pid,
            parent: field("PPid:")?.parse().ok()?,
            uid: field("Uid:")?.parse().ok()?,
            state: field("State:")?.chars().next()?,
            command: String::from_utf8_lossy(&command).replace('\0', " "),
            cgroup: fs::read_to_string(dir.join("cgroup")).unwrap_or_default(),
        })
    }

    /// What `/proc/PID/ns/<kind>` points to, such as `net:[4026531840]`.
    #[must_use]
    pub fn namespace(&self, kind: &str) -> Option<String> {
        namespace(&self.pid.to_string(), kind)
    }

    /// Whether it was started as `bulkhead <word> …`.
    #[must_use]
    pub fn is_half(&self, word: &str) -> bool {
        self.command.split(' ').nth(1) == Some(word)
    }

    /// Cpu time used so far, user and system, in clock ticks of 10 ms.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u64>().ok()).sum()
    }

    /// Resident memory in KiB.
    #[must_use]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    }
}

/// What `/proc/<who>/ns/<kind>` points to; `who` is a number or `self`.
#[must_use]
pub fn namespace(who: &str, kind: &str) -> Option<String> {
    let target = fs::read_link(format!("/proc/{who}/ns/{kind}")).ok()?;
    Some(target.to_string_lossy().into_owned())
}

/// Every process of the host.
///
/// # Panics
/// When `/proc` can't be listed.
#[must_use]
pub fn processes() -> Vec<Process> {
    let names = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::read).collect()
}

/// The process `root` and all its descendants.
#[must_use]
pub fn family(root: i32) -> Vec<Process> {
    let all = processes();
    let mut wanted = vec![root];
    let mut found = Vec::new();
    while let Some(pid) = wanted.pop() {
        wanted.extend(all.iter().filter(|p| p.parent == pid).map(|p| p.pid));
        found.extend(all.iter().filter(|p| p.pid == pid).cloned());
    }
    found
}

/// Sends SIGKILL to one process that the caller's server started.
///
/// # Panics
/// When the kernel refuses; a process that is gone already is fine.
pub fn kill9(pid: i32) {
    signal(pid, Signal::SIGKILL);
}

/// Sends any signal to one process that the caller's server started.
///
/// # Panics
/// When the kernel refuses; a process that is gone already is fine.
pub fn signal(pid: i32, signal: Signal) {
    assert!(pid > 1, "pid {pid}");
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(e) => panic!("{signal} to {pid}: {e}"),
    }
}

/// Every directory below `root` whose path, seen from there, fits.
#[must_use]
pub fn directories(root: &Path, fits: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut todo = vec![root.to_owned()];
    let mut found = Vec::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            let text = path.to_string_lossy().into_owned();
            if fits(&text) {
                found.push(text);
            }
            todo.push(path);
        }
    }
    found
}

/// Major and minor number of the kernel.
///
/// # Panics
/// When `/proc` does not say.
#[must_use]
pub fn kernel() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a release");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    (numbers.next().expect("a major number"), numbers.next().expect("a minor number"))
}

/// Memory of the host that new work may have, in KiB.
///
/// # Panics
/// When `/proc/meminfo` does not say.
#[must_use]
pub fn available_kib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").expect("/proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).expect("MemAvailable")
}

/// Bytes that are in use in the file system at a path: of the volume of disks, what all of them take together. Its file
/// tells nothing, since that is taken ahead.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn used_bytes(path: &Path) -> u64 {
    let seen = nix::sys::statvfs::statvfs(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    (seen.blocks() - seen.blocks_free()) * seen.fragment_size()
}

/// Bytes of a file that are in the page cache. It is not read for that (mincore(2)).
///
/// # Panics
/// When `fincore` of util-linux does not say.
#[must_use]
pub fn cached_bytes(path: &Path) -> u64 {
    let arguments = ["--bytes", "--noheadings", "--output", "res"];
    let output = Command::new("fincore").args(arguments).arg(path).output();
    let output = output.expect("fincore (package util-linux-extra)");
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().unwrap_or_else(|_| panic!("fincore {}: {output:?}", path.display()))
}

/// Takes a file that is on the disk out of the page cache.
///
/// # Panics
/// When some of it stays there.
pub fn forget_cached(path: &Path) {
    let file = fs::File::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    eventually(&format!("{} leaves the page cache", path.display()), || {
        file.sync_all().map_err(|e| e.to_string())?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(|e| e.to_string())?;
        match cached_bytes(path) {
            0 => Ok(()),
            left => Err(format!("{left} bytes are there")),
        }
    });
}
