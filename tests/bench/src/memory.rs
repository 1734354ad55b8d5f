//! Resident memory of gateway and agent: before, at most during, and after.

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
                let mut most = before;
                while !over.load(Ordering::Relaxed) {
                    let now = self.resident().unwrap_or_default();
                    most = [most[0].max(now[0]), most[1].max(now[1])];
                    thread::sleep(PAUSE);
                }
                most
            });
            let done = work();
            over.store(true, Ordering::Relaxed);
            (done, watcher.join().unwrap_or_default())
        });
        let done = done?;
        thread::sleep(SETTLE);
        let after = self.resident()?;
        let of = |at: usize| json!({ "before": before[at], "most": most[at], "after": after[at] });
        Ok((done, json!({ "gateway": of(0), "agent": of(1) })))
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
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.split_whitespace().next().context("VmRSS without a number")?.parse()?)
}
