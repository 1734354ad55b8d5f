//! Keeps true what the sandbox reads of its own memory (`/proc/meminfo`, `/sys/fs/cgroup/memory.current`): never older
//! than a second while something runs, nor than the end of the last execution. Most of that is done behind an answer
//! and not before a program: it takes a fiftieth of the time of a short command.

use crate::slots::Slots;
use bulkhead_protocol::meminfo::Memory;
use std::cell::Cell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// How old the numbers may be while something runs, and when it starts.
const EVERY: Duration = Duration::from_secs(1);
/// Longest counter file that is read in bytes: `memory.stat` has about 60 rows of 40.
const MOST: usize = 8 << 10;
/// Width of the number in `memory.current`: a shorter one written over a longer one would leave its tail.
const WIDTH: usize = 20;

/// The files, as the launch handed them over.
#[derive(Debug)]
pub(crate) struct Files {
    /// The tenant's memory in bytes.
    pub(crate) total: u64,
    /// What the cgroup counts in all.
    pub(crate) usage: OwnedFd,
    /// `memory.stat`.
    pub(crate) stat: OwnedFd,
    /// What tenants read as `/proc/meminfo`.
    pub(crate) meminfo: OwnedFd,
    /// What tenants read as `memory.current`.
    pub(crate) current: OwnedFd,
}

/// The numbers and who keeps them.
#[derive(Debug)]
pub(crate) struct Vitals {
    total: u64,
    usage: File,
    stat: File,
    meminfo: File,
    current: File,
    /// Whether the task that looks each second is there.
    kept: Cell<bool>,
    /// When it was looked last.
    looked: Cell<Option<Instant>>,
}

impl Vitals {
    pub(crate) fn new(files: Files) -> Rc<Self> {
        let Files { total, usage, stat, meminfo, current } = files;
        let [usage, stat, meminfo, current] = [usage, stat, meminfo, current].map(File::from);
        Rc::new(Self {
            total,
            usage,
            stat,
            meminfo,
            current,
            kept: Cell::new(false),
            looked: Cell::new(None),
        })
    }

    /// Looks where that was not done for a second, and once a second for as long as one of `running` is taken.
    pub(crate) fn keep(self: &Rc<Self>, running: &Slots) {
        if self.looked.get().is_none_or(|looked| looked.elapsed() >= EVERY) {
            self.refresh();
        }
        if self.kept.replace(true) {
            return;
        }
        let (vitals, running) = (Rc::clone(self), running.clone());
        tokio::task::spawn_local(async move {
            while running.taken() > 0 {
                tokio::time::sleep(EVERY).await;
                vitals.refresh();
            }
            vitals.kept.set(false);
        });
    }

    /// Looks now. Numbers that cannot be read or written stay as they are: nothing depends on them but what programs guess.
    pub(crate) fn refresh(&self) {
        self.looked.set(Some(Instant::now()));
        let mut buffer = [0; MOST];
        let Some(usage) = read(&self.usage, &mut buffer) else { return };
        let usage = usage.trim().to_owned();
        let Some(stat) = read(&self.stat, &mut buffer) else { return };
        let text = Memory::parse(self.total, &usage, stat).text();
        let written = self.meminfo.write_all_at(text.as_bytes(), 0);
        let current = format!("{usage:>WIDTH$}\n");
        if written.and_then(|()| self.current.write_all_at(current.as_bytes(), 0)).is_err() {
            eprintln!("the view of memory was not written");
        }
    }
}

fn read<'a>(file: &File, buffer: &'a mut [u8; MOST]) -> Option<&'a str> {
    let count = file.read_at(buffer, 0).ok()?;
    std::str::from_utf8(buffer.get(..count)?).ok()
}
