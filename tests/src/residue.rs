//! The leak check: everything on the host that belongs to one server, as a set of lines.
//!
//! A leak is a line that is there after and was not there before, so a failing test names what was left. Tests
//! run beside each other; every line is therefore one that can be attributed to the own server: by the name of
//! its instance (`bulkhead-<8 hex>`, part of every cgroup path) or by its directories. What cannot be
//! attributed ([`host_wide`]) is only looked at by tests that run alone (`.config/nextest.toml`).

use crate::host::{FIRST_SANDBOX_ID, Process, directories, processes};
use bulkhead_protocol::SandboxId;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Where id ranges of the whole host are claimed.
const CLAIMS: &str = "/run/bulkhead-ids";

/// One server, as far as a look from outside needs it.
#[derive(Debug, Clone)]
pub struct Instance {
    /// `bulkhead-<8 hex>`.
    pub name: String,
    /// Its `--state-dir`.
    pub state: PathBuf,
    /// Its `--run-dir`.
    pub run: PathBuf,
}

impl Instance {
    /// Everything that exists for sandboxes of this server. Empty when it has none.
    #[must_use]
    pub fn sandboxes(&self) -> BTreeSet<String> {
        let mut lines = BTreeSet::new();
        let of_a_sandbox = |path: &str| {
            path.contains(&self.name) && path.split('/').any(|part| SandboxId::parse(part).is_ok())
        };
        lines.extend(self.groups(&of_a_sandbox));
        lines.extend(self.processes());
        for dir in ["images/staging", "images/trash"] {
            lines.extend(entries(&self.state.join(dir)));
        }
        for dir in ["store", "store/.trash", "intents", "gateway/agents"] {
            lines.extend(entries(&self.run.join(dir)));
        }
        lines
    }

    /// Everything that exists for this server at all. Empty after `bulkhead purge`.
    #[must_use]
    pub fn everything(&self) -> BTreeSet<String> {
        let mut lines = self.sandboxes();
        lines.extend(self.groups(&|path| path.contains(&self.name)));
        lines.extend(self.helpers());
        lines.extend(self.mounts());
        lines.extend(self.loops());
        lines.extend(self.claims());
        lines
    }

    fn groups(&self, fits: &dyn Fn(&str) -> bool) -> Vec<String> {
        let found = directories(Path::new("/sys/fs/cgroup"), fits);
        found.into_iter().map(|path| format!("cgroup {path}")).collect()
    }

    /// Processes of sandboxes of this server, and the namespaces that they keep. One that is in no server's
    /// cgroup counts as ours: nobody else would report it.
    fn processes(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for process in processes() {
            let inside = process.cgroup.contains(&self.name);
            let stray = !process.cgroup.contains("bulkhead-") && process.state != 'Z';
            if process.uid < FIRST_SANDBOX_ID || !(inside || stray) {
                continue;
            }
            let Process { pid, parent, uid, state, command, .. } = &process;
            lines.push(format!("process {pid} uid {uid} state {state}, child of {parent}: {command}"));
            lines.extend(process.namespace("net").map(|net| format!("namespace {net}")));
        }
        lines
    }

    /// Processes of the host's that were started for a directory of this server, and outlived whom they worked for.
    fn helpers(&self) -> Vec<String> {
        let of_this = |process: &Process| {
            let words = process.command.split(' ').map(Path::new);
            words.into_iter().any(|word| word.starts_with(&self.state) || word.starts_with(&self.run))
        };
        let found = processes().into_iter().filter(of_this);
        found.map(|p| format!("process {}, child of {}: {}", p.pid, p.parent, p.command)).collect()
    }

    /// Mounts that name a directory of this server, in any mount namespace of the host.
    fn mounts(&self) -> Vec<String> {
        let needles = [self.state.to_string_lossy().into_owned(), self.run.to_string_lossy().into_owned()];
        let mut seen = BTreeSet::new();
        let mut lines = Vec::new();
        for process in processes() {
            let Some(namespace) = process.namespace("mnt") else { continue };
            if !seen.insert(namespace.clone()) {
                continue;
            }
            let text = fs::read_to_string(format!("/proc/{}/mountinfo", process.pid)).unwrap_or_default();
            let ours = text.lines().filter(|line| needles.iter().any(|needle| line.contains(needle)));
            lines.extend(ours.map(|line| format!("mount in {namespace}: {line}")));
        }
        lines
    }

    fn loops(&self) -> Vec<String> {
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let backing = devices.filter_map(|d| fs::read_to_string(d.path().join("loop/backing_file")).ok());
        let state = self.state.to_string_lossy().into_owned();
        backing
            .filter(|file| file.contains(&state))
            .map(|file| format!("loop device on {}", file.trim()))
            .collect()
    }

    /// Claims of id ranges that name this server. A range whose sandbox is gone stays claimed for the next one:
    /// only `purge` gives all of them back.
    fn claims(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for path in fs::read_dir(CLAIMS).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let content = fs::read_to_string(&path).unwrap_or_default();
            if content.contains(&self.name) {
                lines.push(format!("claim {}", path.display()));
            }
        }
        lines
    }
}

fn entries(dir: &Path) -> Vec<String> {
    let found = fs::read_dir(dir).into_iter().flatten().flatten();
    // The trash itself stays; what is in it is listed on its own.
    found
        .filter(|entry| entry.file_name() != ".trash")
        .map(|entry| format!("entry {}", entry.path().display()))
        .collect()
}

/// Open descriptors of a process by what they are: `socket`, `pipe`, `anon_inode:[eventpoll]`, a path, ….
#[must_use]
pub fn descriptors(pid: i32) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let text = target.to_string_lossy().into_owned();
        let kind =
            text.split_once(":[").filter(|(kind, _)| *kind != "anon_inode").map(|(kind, _)| kind.to_owned());
        *counts.entry(kind.unwrap_or(text)).or_insert(0) += 1;
    }
    counts
}

/// Counts over the whole host, which nobody can attribute: only for tests that run alone.
#[must_use]
pub fn host_wide() -> BTreeMap<&'static str, usize> {
    let all = processes();
    let nets: BTreeSet<_> = all.iter().filter_map(|p| p.namespace("net")).collect();
    let groups = directories(Path::new("/sys/fs/cgroup"), &|path| path.contains("bulkhead"));
    let loops = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    BTreeMap::from([
        ("cgroups", groups.len()),
        ("processes", all.iter().filter(|p| p.uid >= FIRST_SANDBOX_ID).count()),
        ("network namespaces", nets.len()),
        ("loop devices", loops.filter(|d| d.path().join("loop/backing_file").exists()).count()),
        ("mounts", mounts.lines().count()),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_counted_by_what_they_are() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let count = || descriptors(pid).get("socket").copied().unwrap_or(0);
        let before = count();
        let _pair = std::os::unix::net::UnixStream::pair().unwrap();
        assert_eq!(count(), before + 2);
    }

    #[test]
    fn an_instance_that_never_was_owns_nothing() {
        let nowhere = PathBuf::from("/nonexistent/bulkhead-test");
        let instance =
            Instance { name: "bulkhead-00000000".to_owned(), state: nowhere.clone(), run: nowhere };
        assert_eq!(instance.everything(), BTreeSet::new());
    }
}
