//! What is free on a host, read from its small files.

use super::Places;
use bulkhead_sys::host::Facts;
use nix::sys::statvfs::statvfs;
use std::path::Path;

/// Something of which there is a certain amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(super) total: u64,
    pub(super) free: u64,
}

/// What a file system has left for those who are not root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(super) bytes: u64,
    /// `None` where it makes them as it goes.
    pub(super) inodes: Option<u64>,
}

/// All of it; `None` is what could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readings {
    /// In bytes.
    pub(super) memory: Option<Pool>,
    /// Hundredths of percent of the last ten seconds in which every task waited for memory.
    pub(super) pressure: Option<u64>,
    pub(super) tasks: Option<Pool>,
    pub(super) files: Option<Pool>,
    pub(super) disks: Vec<Room>,
    pub(super) run: Option<Room>,
}

impl Readings {
    pub(super) fn take(host: &dyn Facts, places: &Places) -> Self {
        Self {
            memory: host.text("/proc/meminfo").and_then(|text| memory(&text)),
            pressure: host.text("/proc/pressure/memory").and_then(|text| pressure(&text)),
            tasks: tasks(host),
            files: host.text("/proc/sys/fs/file-nr").and_then(|text| files(&text)),
            disks: places.disks.iter().filter_map(|path| Room::of(path)).collect(),
            run: Room::of(&places.run_dir),
        }
    }
}

impl Room {
    fn of(path: &Path) -> Option<Self> {
        let seen = statvfs(path).ok()?;
        let inodes = Some(seen.files_available()).filter(|_| seen.files() > 0);
        Some(Self { bytes: seen.blocks_available().saturating_mul(seen.fragment_size()), inodes })
    }
}

fn memory(text: &str) -> Option<Pool> {
    let kib = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(Pool { total: kib("MemTotal")? << 10, free: kib("MemAvailable")? << 10 })
}

/// `full avg10=1.23 …`
fn pressure(text: &str) -> Option<u64> {
    let full = text.lines().find(|line| line.starts_with("full "))?;
    let (whole, part) = full.split(' ').find_map(|field| field.strip_prefix("avg10="))?.split_once('.')?;
    Some(whole.parse::<u64>().ok()? * 100 + part.parse::<u64>().ok()?)
}

/// The kernel has two bounds of tasks; the lower one counts.
fn tasks(host: &dyn Facts) -> Option<Pool> {
    let bound = |name| host.number(&format!("/proc/sys/kernel/{name}"));
    let total = bound("pid_max")?.min(bound("threads-max")?);
    // `0.00 0.01 0.05 2/345 6789`: tasks that want to run, and all.
    let load = host.text("/proc/loadavg")?;
    let all: u64 = load.split(' ').nth(3)?.split_once('/')?.1.parse().ok()?;
    Some(Pool { total, free: total.saturating_sub(all) })
}

/// `allocated unused max`
fn files(text: &str) -> Option<Pool> {
    let mut numbers = text.split_whitespace().map(|number| number.parse::<u64>().ok());
    let (allocated, _, total) = (numbers.next()??, numbers.next()??, numbers.next()??);
    Some(Pool { total, free: total.saturating_sub(allocated) })
}
