//! Keeps true what the sandbox reads of its own memory (`/proc/meminfo`, `/sys/fs/cgroup/memory.current`): at each
//! start of an execution, and once a second while one runs.

use crate::slots::Slots;
use bulkhead_protocol::meminfo::Memory;
use std::cell::Cell;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use std::time::Duration;

/// How old the numbers may be while something runs.
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
}

impl Vitals {
    pub(crate) fn new(files: Files) -> Rc<Self> {
        let Files { total, usage, stat, meminfo, current } = files;
        let [usage, stat, meminfo, current] = [usage, stat, meminfo, current].map(File::from);
        Rc::new(Self { total, usage, stat, meminfo, current, kept: Cell::new(false) })
    }

    /// Looks now, and once a second for as long as one of `running` is taken.
    pub(crate) fn keep(self: &Rc<Self>, running: &Slots) {
        self.refresh();
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

    /// Numbers that cannot be read or written stay as they are: nothing depends on them but what programs guess.
    fn refresh(&self) {
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
