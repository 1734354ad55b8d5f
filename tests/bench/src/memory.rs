//! Resident memory of gateway, agent and file workers: before, at most during, and after.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// What was given back is gone by then.
const SETTLE: Duration = Duration::from_millis(500);

/// The two processes.
#[derive(Clone, Copy)]
pub(crate) struct Watched {
    gateway: u32,
    agent: u32,
}

impl Watched {
    /// The gateway below this `serve`, and the agent of this sandbox.
    pub(crate) fn find(serve: u32, sandbox: &str) -> Result<Self> {
        let all = processes()?;
        let inside: Vec<_> = all.iter().filter(|one| one.cgroup.contains(sandbox)).collect();
        let outermost = |one: &&&Process| !inside.iter().any(|other| other.pid == one.parent);
        let gateway = all.iter().find(|one| one.parent == serve && one.word == "gateway");
        Ok(Self {
            gateway: gateway.context("no gateway below serve")?.pid,
            agent: inside.iter().find(outermost).context("no agent of the sandbox")?.pid,
        })
    }

    fn resident(self) -> Result<[u64; 2]> {
        Ok([resident_kib(self.gateway)?, resident_kib(self.agent)?])
    }

    /// Runs `work` and says what both held meanwhile, in KiB.
    pub(crate) fn during<T>(self, work: impl FnOnce() -> Result<T>) -> Result<(T, Value)> {
        let before = self.resident()?;
        let over = AtomicBool::new(false);
        let (done, most) = thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let [mut gateway, mut agent] = before;
                let mut worker = 0;
                while !over.load(Ordering::Relaxed) {
                    let now = self.resident().unwrap_or_default();
                    (gateway, agent) = (gateway.max(now[0]), agent.max(now[1]));
                    worker = worker.max(self.worker_kib());
                    thread::sleep(PAUSE);
                }
                [gateway, agent, worker]
            });
            let done = work();
            over.store(true, Ordering::Relaxed);
            (done, watcher.join().unwrap_or_default())
        });
        let done = done?;
        thread::sleep(SETTLE);
        let after = self.resident()?;
        let of = |at: usize| json!({ "before": before[at], "most": most[at], "after": after[at] });
        let worker = json!({ "most": most[2] });
        Ok((done, json!({ "gateway": of(0), "agent": of(1), "worker": worker })))
    }

    /// What the largest file worker of the agent has held so far; 0 where there is none.
    fn worker_kib(self) -> u64 {
        let children = format!("/proc/{0}/task/{0}/children", self.agent);
        let children = fs::read_to_string(children).unwrap_or_default();
        let is_worker = |pid: &u32| {
            fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.contains("\0files\0"))
        };
        let pids = children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_worker);
        pids.filter_map(|pid| kib(pid, "VmHWM:").ok()).max().unwrap_or(0)
    }
}

struct Process {
    pid: u32,
    parent: u32,
    /// The first argument.
    word: String,
    cgroup: String,
}

/// All processes; those that end meanwhile are left out.
fn processes() -> Result<Vec<Process>> {
    let names = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let read = |pid: u32| {
        let text = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let stat = text("stat")?;
        let parent = stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()?;
        let word = text("cmdline")?.split('\0').nth(1).unwrap_or_default().to_owned();
        Some(Process { pid, parent, word, cgroup: text("cgroup")? })
    };
    Ok(names.filter_map(read).collect())
}

fn resident_kib(pid: u32) -> Result<u64> {
    kib(pid, "VmRSS:")
}

/// A line of a process's status.
fn kib(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let line = line.with_context(|| format!("no {name}"))?;
    Ok(line.split_whitespace().next().with_context(|| format!("{name} without a number"))?.parse()?)
}
