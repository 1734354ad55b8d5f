//! The directory of records. Whoever reads one relies on nothing but what was checked here.

use super::{Phase, Record};
use crate::error::{Doing, Error, Result, chain};
use bulkhead_protocol::SandboxId;
use bulkhead_sys::error::Context;
use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Extension of a record.
const RECORD: &str = "json";
/// Of one that is being written.
const UNFINISHED: &str = "new";
/// Of one that was set aside.
const BAD: &str = "bad";
/// Longest record in bytes: it has a kilobyte and, on a host with very many processors, some more.
const LONGEST: u64 = 64 << 10;

/// The directory of records.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
    boot: String,
    /// Who writes records: this process's user.
    owner: u32,
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
        let records =
            Self { directory, boot: boot.trim().to_owned(), owner: nix::unistd::geteuid().as_raw() };
        records.remove_unfinished()?;
        Ok(records)
    }

    /// What was being written when a runtime died: the sandbox's record, if any, is the old one.
    fn remove_unfinished(&self) -> Result<()> {
        for path in self.files(UNFINISHED)? {
            fs::remove_file(&path)
                .during("unlink", || path.display().to_string())
                .doing("remove an unfinished record")?;
        }
        Ok(())
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
        let fresh = path.with_extension(UNFINISHED);
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

    /// Reads all records. What cannot be read at this moment may be whole: that is an error. What is torn, foreign, of another owner or in contradiction to an older one is renamed to
    /// `*.bad` and reported: nothing is done because of it, to nobody.
    pub(crate) fn read_all(&self) -> Result<Found> {
        let mut read = Vec::new();
        for path in self.files(RECORD)? {
            match self.read(&path) {
                Ok(record) => read.push(record),
                Err(error @ (Error::Directory { .. } | Error::Record { .. })) => {
                    set_aside(&path, &chain(&error))?;
                }
                Err(error) => return Err(error),
            }
        }
        // Of two that claim one range, the one that runs must not be lost; else the older was there when it was free.
        read.sort_by_key(|(written, record)| (!matches!(record.phase, Phase::Running(_)), *written));
        let mut found = Found::default();
        let mut slots = HashSet::new();
        for (_, record) in read {
            if record.boot != self.boot {
                found.stale.push(record);
            } else if slots.insert(record.slot) {
                found.records.push(record);
            } else {
                set_aside(&self.path(&record.id), "its range is another's")?;
            }
        }
        Ok(found)
    }

    /// Names of the records that were set aside.
    pub(crate) fn bad(&self) -> Result<Vec<String>> {
        let name = |path: PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Ok(self.files(BAD)?.into_iter().filter_map(name).collect())
    }

    /// The files with this extension.
    fn files(&self, extension: &str) -> Result<Vec<PathBuf>> {
        let listing = || self.directory.display().to_string();
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.directory).during("getdents", listing).doing("list records")? {
            let path = entry.during("getdents", listing).doing("list records")?.path();
            if path.extension().is_some_and(|found| found == extension) {
                files.push(path);
            }
        }
        Ok(files)
    }

    /// A record and when it was written.
    fn read(&self, path: &Path) -> Result<(SystemTime, Record)> {
        let problem = |problem| Error::Directory { path: path.to_owned(), problem };
        let label = || path.display().to_string();
        let found = fs::symlink_metadata(path).during("lstat", label).doing("read a record")?;
        if !found.is_file() {
            return Err(problem("is no record"));
        }
        let file = fs::OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .during("open", label)
            .doing("read a record")?;
        let meta = file.metadata().during("fstat", label).doing("read a record")?;
        if meta.len() > LONGEST {
            return Err(problem("is no record"));
        }
        if meta.uid() != self.owner || meta.mode() & 0o022 != 0 {
            return Err(problem("could be somebody else's work"));
        }
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text).during("read", label).doing("read a record")?;
        let record: Record = serde_json::from_slice(&text)
            .map_err(|source| Error::Record { path: path.to_owned(), source })?;
        if path.file_stem().and_then(|stem| stem.to_str()) != Some(record.id.as_str()) {
            return Err(problem("holds the record of another sandbox"));
        }
        if !record.slot.exists() || record.limits.check().is_err() {
            return Err(problem("says what no launch wrote"));
        }
        let written = meta.modified().during("fstat", label).doing("read a record")?;
        Ok((written, record))
    }

    fn path(&self, id: &SandboxId) -> PathBuf {
        self.directory.join(format!("{id}.{RECORD}"))
    }
}

fn set_aside(path: &Path, why: &str) -> Result<()> {
    tracing::error!(path = %path.display(), "record set aside: {why}");
    fs::rename(path, path.with_extension(BAD))
        .during("rename", || path.display().to_string())
        .doing("set a record aside")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::Digests;
    use crate::ids::Slot;
    use crate::record::{Disk, Identity, Listed};
    use bulkhead_protocol::Limits;
    use std::os::unix::fs::PermissionsExt;

    fn record(records: &Records) -> Record {
        Record {
            id: SandboxId::parse(&"ab".repeat(15)).unwrap(),
            slot: Slot(7),
            image: bulkhead_protocol::image::ImageId::host(),
            limits: Limits {
                memory_bytes: 64 << 20,
                cpu_millis: 500,
                pids: 32,
                open_files: 1024,
                disk_bytes: 64 << 20,
            },
            processors: vec![0],
            filters: Digests::of_this_release(&[]),
            mounts: Vec::new(),
            listed: Listed::Mounts,
            denied: Vec::new(),
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
    fn what_no_launch_wrote_is_set_aside() {
        let home = tempfile::tempdir().unwrap();
        let records = Records::open(home.path().to_owned()).unwrap();
        let first = record(&records);
        records.write(&first).unwrap();
        let named = |letter: &str, slot| Record {
            id: SandboxId::parse(&letter.repeat(30)).unwrap(),
            slot: Slot(slot),
            ..first.clone()
        };
        // The range of an older one; the neutral range, ranges that are none.
        for (letter, slot) in [("c", 7), ("d", 0), ("e", 4094), ("f", u32::MAX)] {
            records.write(&named(letter, slot)).unwrap();
        }
        let beginning = Record { phase: Phase::Launching(Disk::New), ..named("b", 7) };
        records.write(&beginning).unwrap();
        let old = fs::File::open(home.path().join(format!("{}.json", first.id))).unwrap();
        old.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        records.write(&named("g", 9)).unwrap();
        let writable = home.path().join(format!("{}.json", "g".repeat(30)));
        fs::set_permissions(&writable, fs::Permissions::from_mode(0o666)).unwrap();
        std::os::unix::fs::symlink(&writable, home.path().join(format!("{}.json", "h".repeat(30)))).unwrap();
        assert_eq!(records.read_all().unwrap().records, vec![first]);
        let mut bad = records.bad().unwrap();
        bad.sort();
        assert_eq!(
            bad,
            ["b", "c", "d", "e", "f", "g", "h"].map(|letter| format!("{}.bad", letter.repeat(30)))
        );
    }
}
