//! What the machine says about itself.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Instant;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Date, kernel and processors, for every report.
pub(crate) fn facts() -> Result<Map<String, Value>> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let facts = json!({
        "date": OffsetDateTime::now_utc().replace_nanosecond(0)?.format(&Rfc3339)?,
        "kernel": kernel.trim(),
        "cpus": cpus(),
    });
    facts.as_object().cloned().context("the facts are an object")
}

/// Median time of one `mkdir` in `directory`, in microseconds. A create makes about a dozen inodes, and a file
/// system can be in a state in which each takes 20 times longer than usual: this tells such a run from a slow
/// product.
pub(crate) fn mkdir_micros(directory: &Path) -> Result<u64> {
    let probe = directory.join("mkdir-probe");
    fs::create_dir(&probe)?;
    let mut times = Vec::new();
    for number in 0..31 {
        let began = Instant::now();
        fs::create_dir(probe.join(number.to_string()))?;
        times.push(began.elapsed());
    }
    fs::remove_dir_all(&probe)?;
    times.sort_unstable();
    Ok(u64::try_from(times[times.len() / 2].as_micros())?)
}

/// Processors that this process may use.
pub(crate) fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Memory that the kernel could give out without swapping, in bytes.
pub(crate) fn memory_available() -> Result<i64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib =
        line.and_then(|rest| rest.split_whitespace().next()).context("no MemAvailable in /proc/meminfo")?;
    Ok(kib.parse::<i64>()? * 1024)
}

/// Ticks of all processors since boot, and those of them that were spent working.
#[derive(Clone, Copy)]
pub(crate) struct CpuTime {
    busy: u64,
    all: u64,
}

impl CpuTime {
    /// Reads the first line of `/proc/stat`.
    pub(crate) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no cpu line")?;
        // user nice system idle iowait irq softirq steal; guest time is part of user time already
        let ticks: Vec<u64> = line.split_whitespace().take(8).map(str::parse).collect::<Result<_, _>>()?;
        let all: u64 = ticks.iter().sum();
        let idle = ticks.get(3..5).context("no idle time in /proc/stat")?.iter().sum::<u64>();
        Ok(Self { busy: all - idle, all })
    }

    /// The part of the processors' time since `earlier` that was spent working, from 0 to 1.
    pub(crate) fn share_since(self, earlier: Self) -> f64 {
        let busy = self.busy.saturating_sub(earlier.busy);
        let all = self.all.saturating_sub(earlier.all).max(1);
        to_f64(busy) / to_f64(all)
    }
}

/// A count as a floating-point number; counts here stay far below 2^32.
pub(crate) fn to_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
