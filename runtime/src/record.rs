//! Records of sandboxes: one file per id in the run directory, written before the first side effect.
//!
//! They lie on tmpfs and are not flushed: a power cut takes the kernel's state with it. A record that cannot be
//! read is set aside, never guessed at.

use crate::digests::Digests;
use crate::error::{Doing, Error, Result};
use crate::ids::Slot;
use bulkhead_protocol::runtime::Disk;
use bulkhead_protocol::{Limits, SandboxId};
use bulkhead_sys::error::Context;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Everything that must be known about a sandbox after a restart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    pub(crate) id: SandboxId,
    pub(crate) slot: Slot,
    pub(crate) image: String,
    pub(crate) limits: Limits,
    /// Numbers of the processors that it runs on.
    pub(crate) processors: Vec<usize>,
    /// The filters that were installed; empty names in records of a release that did not write them down.
    #[serde(default)]
    pub(crate) filters: Digests,
    /// Counts the launches of this sandbox, from 1.
    pub(crate) launch: u32,
    /// Which boot of the host this was written in.
    pub(crate) boot: String,
    pub(crate) phase: Phase,
}

/// How far the sandbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Something of it may exist; nobody was told that it does.
    Launching(Disk),
    /// Its agent was executed.
    Running(Identity),
    /// Everything in it was told to end.
    Ending(Fate),
}

/// What becomes of the disk when a sandbox ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fate {
    /// Another launch may use it.
    Keep,
    /// Nobody sees it again.
    Discard,
}

impl Fate {
    /// Of the disk of a launch that failed: only what was made for it goes with it.
    pub(crate) fn of_failed(disk: Disk) -> Self {
        match disk {
            Disk::New => Self::Discard,
            Disk::Kept => Self::Keep,
        }
    }
}

impl Phase {
    /// What becomes of the disk when this is found and nothing runs.
    pub(crate) fn fate(&self) -> Fate {
        match self {
            Phase::Launching(disk) => Fate::of_failed(*disk),
            Phase::Running(_) => Fate::Keep,
            Phase::Ending(fate) => *fate,
        }
    }
}

/// Which process a pid meant: numbers are used again, this pair is not within one boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: i32,
    /// Field 22 of /proc/PID/stat, in clock ticks since boot.
    pub(crate) start_time: u64,
}

impl Identity {
    /// Reads who has this pid now; `None` when nobody has.
    pub(crate) fn of(pid: i32) -> Option<Self> {
        Self::from_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The same from the text of its `stat`.
    pub(crate) fn from_stat(pid: i32, stat: &str) -> Option<Self> {
        // The command name, in parentheses, may hold anything: count from the last one.
        let after_name = stat.rsplit_once(')')?.1;
        let start_time = after_name.split_whitespace().nth(19)?.parse().ok()?;
        Some(Self { pid, start_time })
    }
}

/// The directory of records.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
    boot: String,
}

/// What the directory held.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Whole records of this boot.
    pub(crate) records: Vec<Record>,
    /// Whole records of another boot: nothing of them lives.
    pub(crate) stale: Vec<Record>,
}

impl Records {
    pub(crate) fn open(directory: PathBuf) -> Result<Self> {
        let path = "/proc/sys/kernel/random/boot_id";
        let boot = fs::read_to_string(path).during("read", || path.into()).doing("read the boot id")?;
        Ok(Self { directory, boot: boot.trim().to_owned() })
    }

    /// The id of this boot, for new records.
    pub(crate) fn boot(&self) -> &str {
        &self.boot
    }

    /// Writes a record, whole or not at all.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        let path = self.path(&record.id);
        let bytes =
            serde_json::to_vec(record).map_err(|source| Error::Record { path: path.clone(), source })?;
        let fresh = path.with_extension("new");
        fs::write(&fresh, bytes)
            .and_then(|()| fs::rename(&fresh, &path))
            .during("write", || path.display().to_string())
            .doing("write a record")
    }

    /// Removes a record; a missing one is fine.
    pub(crate) fn remove(&self, id: &SandboxId) -> Result<()> {
        match fs::remove_file(self.path(id)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            done => done.during("unlink", || id.to_string()).doing("remove a record"),
        }
    }

    /// Reads all records. Torn and foreign ones are renamed to `*.bad` and reported.
    pub(crate) fn read_all(&self) -> Result<Found> {
        let mut found = Found::default();
        let listing = || self.directory.display().to_string();
        for entry in fs::read_dir(&self.directory).during("getdents", listing).doing("list records")? {
            let path = entry.during("getdents", listing).doing("list records")?.path();
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("json") => {}
                // Not renamed yet, so the sandbox's record, if any, is the old one.
                Some("new") => {
                    fs::remove_file(&path).during("unlink", listing).doing("remove an unfinished record")?;
                    continue;
                }
                _ => continue,
            }
            match read(&path) {
                Ok(record) if record.boot == self.boot => found.records.push(record),
                Ok(record) => found.stale.push(record),
                Err(error) => {
                    tracing::error!("record set aside: {}", crate::error::chain(&error));
                    let aside = path.with_extension("bad");
                    fs::rename(&path, aside).during("rename", listing).doing("set a record aside")?;
                }
            }
        }
        Ok(found)
    }

    fn path(&self, id: &SandboxId) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }
}

fn read(path: &Path) -> Result<Record> {
    let bytes = fs::read(path).during("read", || path.display().to_string()).doing("read a record")?;
    let record: Record =
        serde_json::from_slice(&bytes).map_err(|source| Error::Record { path: path.to_owned(), source })?;
    if path.file_stem().and_then(|stem| stem.to_str()) != Some(record.id.as_str()) {
        return Err(Error::Directory {
            path: path.to_owned(),
            problem: "holds the record of another sandbox",
        });
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(records: &Records) -> Record {
        Record {
            id: SandboxId::parse(&"ab".repeat(15)).unwrap(),
            slot: Slot(7),
            image: "code:latest".into(),
            limits: Limits {
                memory_bytes: 64 << 20,
                cpu_millis: 500,
                pids: 32,
                open_files: 1024,
                disk_bytes: 64 << 20,
            },
            processors: vec![0],
            filters: Digests::of_this_release(),
            launch: 1,
            boot: records.boot().to_owned(),
            phase: Phase::Running(Identity { pid: 5, start_time: 6 }),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_and_a_torn_one_is_set_aside() {
        let home = tempfile::tempdir().unwrap();
        let records = Records::open(home.path().to_owned()).unwrap();
        let one = record(&records);
        records.write(&one).unwrap();
        let id = "cd".repeat(15);
        fs::write(home.path().join(format!("{id}.json")), &serde_json::to_vec(&one).unwrap()[..40]).unwrap();
        fs::write(home.path().join(format!("{}.json", "ef".repeat(15))), serde_json::to_vec(&one).unwrap())
            .unwrap();
        assert_eq!(records.read_all().unwrap().records, vec![one.clone()]);
        assert!(home.path().join(format!("{id}.bad")).exists());
        records.remove(&one.id).unwrap();
        records.remove(&one.id).unwrap();
        assert!(records.read_all().unwrap().records.is_empty());
    }

    #[test]
    fn a_record_of_another_boot_is_stale() {
        let home = tempfile::tempdir().unwrap();
        let records = Records::open(home.path().to_owned()).unwrap();
        records.write(&Record { boot: "another".into(), ..record(&records) }).unwrap();
        let found = records.read_all().unwrap();
        assert_eq!((found.records.len(), found.stale.len()), (0, 1));
    }

    #[test]
    fn this_process_has_an_identity_and_pid_zero_has_none() {
        let pid = i32::try_from(std::process::id()).unwrap();
        assert_eq!(Identity::of(pid), Identity::of(pid));
        assert!(Identity::of(pid).is_some());
        assert_eq!(Identity::of(0), None);
    }
}
