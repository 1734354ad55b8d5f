//! Whether this host has room for one more sandbox, by what is really free: limits are ceilings, not reservations.
//!
//! Refuses before the host suffers. What cannot be read refuses nothing: a launch that finds no room then fails by
//! itself and leaves nothing.

mod readings;

use bulkhead_protocol::limits::MIB;
use bulkhead_protocol::runtime::Scarce;
use bulkhead_sys::host::Facts;
use readings::{Pool, Readings};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How old a reading may be: a burst of launches reads once, and counts what it adds itself.
const FRESH: Duration = Duration::from_millis(100);

/// Memory that stays free for the host, in bytes: enough for a kernel and daemons that work.
const LEAST_MEMORY_RESERVE: u64 = 256 * MIB;
/// The same as a part of all memory: one in this many.
const MEMORY_RESERVE_PART: u64 = 33;
/// What an idle sandbox takes, in bytes: agent, init, namespaces, cgroups, page tables, and its launch at the peak.
const MEMORY_COST: u64 = 8 * MIB;
/// Hundredths of percent of the last ten seconds in which every task waited for memory, above which nothing more is
/// begun …
const MOST_PRESSURE: u64 = 2000;
/// … while less than one in this many of all bytes is available. A tenant that thrashes within its own limit raises the
/// figure of the whole host, and must not close it for others.
const PRESSED_PART: u64 = 10;
/// Tasks and open files that stay free for the host: one in this many of what there may be.
const TABLE_RESERVE_PART: u64 = 16;
/// Tasks of a sandbox that does nothing, and of its launch.
const TASK_COST: u64 = 8;
/// Entries of the host's table of files for one sandbox, and for its launch.
const FILE_COST: u64 = 128;
/// Bytes that stay free on a disk.
const DISK_RESERVE: u64 = 256 * MIB;
/// What a sandbox takes of a disk before it writes anything: directories and metadata.
const DISK_COST: u64 = MIB;
/// Bytes that stay free in the run directory, which is memory: records and sockets.
const RUN_RESERVE: u64 = MIB;
/// Inodes of it: the files of a few launches.
const RUN_INODES: u64 = 64;

/// The bound of all memory that is promised at once, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overcommit {
    /// Percent of the host's memory.
    pub percent: u32,
}

/// Where sandboxes write.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// Disks, and the file systems below them: the volume is a sparse file, and what lies under it may be full first.
    pub(crate) disks: Vec<PathBuf>,
    pub(crate) run_dir: PathBuf,
}

/// Says yes or no to launches.
#[derive(Debug)]
pub(crate) struct Admission {
    places: Places,
    overcommit: Option<Overcommit>,
    last: Option<(Instant, Readings)>,
    /// Launches since the last reading, which it does not show.
    begun: u64,
}

impl Admission {
    pub(crate) fn new(places: Places, overcommit: Option<Overcommit>) -> Self {
        Self { places, overcommit, last: None, begun: 0 }
    }

    /// Changes the bound of the memory that is promised.
    pub(crate) fn bound(&mut self, overcommit: Option<Overcommit>) {
        self.overcommit = overcommit;
    }

    /// Whether a sandbox may begin, and counts it. `promised` is the sum of all limits of memory with its own.
    pub(crate) fn admit(&mut self, host: &dyn Facts, promised: u64) -> Result<(), Scarce> {
        let now = Instant::now();
        let fresh = |(taken, _): &&(Instant, Readings)| now.duration_since(*taken) < FRESH;
        let readings = match self.last.as_ref().filter(fresh) {
            Some((_, readings)) => readings.clone(),
            None => {
                self.begun = 0;
                let readings = Readings::take(host, &self.places);
                self.last = Some((now, readings.clone()));
                readings
            }
        };
        judge(&readings, self.begun + 1)?;
        keep_promise(&readings, promised, self.overcommit)?;
        self.begun += 1;
        Ok(())
    }
}

/// Whether `count` more fit.
fn judge(readings: &Readings, count: u64) -> Result<(), Scarce> {
    let Readings { memory, pressure, tasks, files, disks, run } = readings;
    if let Some(memory) = memory {
        let reserve = LEAST_MEMORY_RESERVE.max(memory.total / MEMORY_RESERVE_PART);
        enough(memory.free, reserve, count * MEMORY_COST, Scarce::Memory)?;
        let pressed = pressure.is_some_and(|pressure| pressure > MOST_PRESSURE);
        if pressed && memory.free < memory.total / PRESSED_PART {
            return Err(Scarce::Pressure);
        }
    }
    let table = |pool: &Option<Pool>, cost, scarce| match pool {
        Some(pool) => enough(pool.free, pool.total / TABLE_RESERVE_PART, count * cost, scarce),
        None => Ok(()),
    };
    table(tasks, TASK_COST, Scarce::Processes)?;
    table(files, FILE_COST, Scarce::Files)?;
    for room in disks {
        enough(room.bytes, DISK_RESERVE, count * DISK_COST, Scarce::Disk)?;
    }
    if let Some(run) = run {
        enough(run.bytes, RUN_RESERVE, 0, Scarce::Disk)?;
        enough(run.inodes.unwrap_or(u64::MAX), RUN_INODES, 0, Scarce::Files)?;
    }
    Ok(())
}

fn keep_promise(readings: &Readings, promised: u64, bound: Option<Overcommit>) -> Result<(), Scarce> {
    let (Some(memory), Some(bound)) = (readings.memory, bound) else { return Ok(()) };
    let most = u128::from(memory.total) * u128::from(bound.percent) / 100;
    if u128::from(promised) > most { Err(Scarce::Memory) } else { Ok(()) }
}

fn enough(free: u64, reserve: u64, cost: u64, scarce: Scarce) -> Result<(), Scarce> {
    if free < reserve.saturating_add(cost) { Err(scarce) } else { Ok(()) }
}

#[cfg(test)]
mod tests;
