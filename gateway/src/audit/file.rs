//! The file, and its predecessors: never more than so many, of so many bytes each.

use crate::limits;
use crate::rate::Limiter;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file in `<state-dir>/gateway`; earlier ones have a number behind it.
pub(super) const NAME: &str = "audit.log";

static LOST: Limiter = Limiter::new();

/// The file that is written.
pub(super) struct Log {
    dir: PathBuf,
    file: File,
    bytes: u64,
    most: u64,
    /// The last line may be; the next must not be its rest.
    torn: bool,
}

impl Log {
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        Self::with(dir, limits::AUDIT_BYTES)
    }

    fn with(dir: &Path, most: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).append(true).mode(0o600).open(dir.join(NAME))?;
        let bytes = file.metadata()?.len();
        Ok(Self { dir: dir.to_owned(), file, bytes, most, torn: bytes > 0 })
    }

    /// Writes a line; what fails is told to the operator's log.
    pub(super) fn write(&mut self, line: &str) {
        if let Err(error) = self.try_write(line)
            && let Some(held_back) = LOST.permit()
        {
            tracing::error!(%error, held_back, "a line of the audit log is lost");
        }
    }

    fn try_write(&mut self, line: &str) -> io::Result<()> {
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.bytes + length >= self.most {
            self.rotate()?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
            self.bytes += 1;
        }
        // On a full disk half of it may be written.
        self.torn = true;
        self.file.write_all(line.as_bytes())?;
        self.torn = false;
        self.bytes += length;
        Ok(())
    }

    /// `audit.log.3` becomes `.4`, and so on; the last is dropped.
    fn rotate(&mut self) -> io::Result<()> {
        let name = |number: u32| self.dir.join(format!("{NAME}.{number}"));
        for number in (1..limits::AUDIT_FILES).rev() {
            match std::fs::rename(name(number), name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        std::fs::rename(self.dir.join(NAME), name(1))?;
        *self = Self::with(&self.dir, self.most)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_much_is_kept_and_the_newest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::with(dir.path(), 100).unwrap();
        for number in 0..100 {
            log.write(&format!("line {number:020}\n"));
        }
        drop(log);
        let mut names: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["audit.log", "audit.log.1", "audit.log.2", "audit.log.3", "audit.log.4"]);
        for name in names {
            assert!(std::fs::metadata(dir.path().join(name)).unwrap().len() <= 100);
        }
        assert!(std::fs::read_to_string(dir.path().join(NAME)).unwrap().ends_with("99\n"));
    }

    #[test]
    fn a_torn_line_does_not_swallow_the_next() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(NAME), "{\"torn").unwrap();
        Log::open(dir.path()).unwrap().write("whole\n");
        assert_eq!(std::fs::read_to_string(dir.path().join(NAME)).unwrap(), "{\"torn\nwhole\n");
    }
}
