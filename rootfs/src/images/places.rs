//! Where everything of the store lies, below `<state-dir>/images`.

use crate::error::{Doing, Result};
use bulkhead_sys::error::Context;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

/// Unpacked layers, named by the digest of their tar stream and whose they are ([`super::sharing::place`]).
pub(crate) const LAYERS: &str = "layers";
/// Roots of images, named by the digest of their configuration in the same way.
pub(crate) const TREES: &str = "trees";
/// What is known of each image.
pub(crate) const RECORDS: &str = "records";
/// Imports under way.
pub(crate) const STAGING: &str = "staging";
/// What waits for its deletion.
pub(crate) const TRASH: &str = "trash";
/// Directories with their modes. An importer finds layers below a descriptor; the directory above lets nobody in.
const DIRECTORIES: [(&str, u32); 5] =
    [(LAYERS, 0o711), (TREES, 0o700), (RECORDS, 0o700), (STAGING, 0o700), (TRASH, 0o700)];
/// Ending of a file that is being written.
const UNFINISHED: &str = ".new";
/// Things of one name that may wait in the trash at once.
const TRASHED: u32 = 10_000;

/// See the module.
#[derive(Debug, Clone)]
pub struct Places {
    images: PathBuf,
}

impl Places {
    /// Makes what is missing in `images`, a directory of ours.
    ///
    /// # Errors
    /// As mkdir(2).
    pub fn open(images: &Path) -> Result<Self> {
        for (name, mode) in DIRECTORIES {
            make(&images.join(name), mode).doing("make the directories of the store")?;
        }
        Ok(Self { images: images.to_owned() })
    }

    pub(crate) fn path(&self, directory: &str, name: &str) -> PathBuf {
        self.images.join(directory).join(name)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.images.join(name)
    }

    /// Makes the directory of an import, which belongs to who unpacks.
    ///
    /// # Errors
    /// `EEXIST` when it is there.
    pub fn make_job(&self, job: &str, owner: u32) -> Result<()> {
        let path = self.path(STAGING, job);
        let label = || job.to_owned();
        fs::DirBuilder::new().mode(0o700).create(&path).during("mkdir", label).doing("make a job")?;
        chown(&path, Some(owner), Some(owner)).during("chown", label).doing("make a job")
    }

    /// The directory of an import.
    ///
    /// # Errors
    /// As open(2).
    pub fn open_job(&self, job: &str) -> Result<OwnedFd> {
        open(&self.path(STAGING, job)).doing("open a job")
    }

    /// The directory of all layers.
    ///
    /// # Errors
    /// As open(2).
    pub fn open_layers(&self) -> Result<OwnedFd> {
        self.open_directory(LAYERS)
    }

    pub(crate) fn open_directory(&self, name: &str) -> Result<OwnedFd> {
        open(&self.images.join(name)).doing("open a directory of the store")
    }

    pub(crate) fn list(&self, directory: &str) -> Result<Vec<String>> {
        let path = self.images.join(directory);
        let read = || fs::read_dir(&path)?.map(|entry| entry.map(|entry| entry.file_name())).collect();
        let names: std::io::Result<Vec<_>> = read();
        let names = names.during("getdents", || directory.to_owned()).doing("list the store")?;
        Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// Puts something out of reach at once; a missing one is fine.
    pub(crate) fn discard(&self, directory: &str, name: &str) -> Result<()> {
        let mut last = Errno::EEXIST;
        for number in 0..TRASHED {
            let done = fs::rename(self.path(directory, name), self.path(TRASH, &format!("{name}.{number}")));
            match done.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))) {
                Ok(()) | Err(Errno::ENOENT) => return Ok(()),
                Err(errno @ (Errno::EEXIST | Errno::ENOTEMPTY)) => last = errno,
                Err(errno) => {
                    last = errno;
                    break;
                }
            }
        }
        Err(last).during("rename", || name.to_owned()).doing("move something of the store to the trash")
    }

    pub(crate) fn discard_job(&self, job: &str) -> Result<()> {
        self.discard(STAGING, job)
    }

    /// No import of an earlier start goes on, and nobody is writing.
    pub(crate) fn clear_unfinished(&self) -> Result<()> {
        self.list(STAGING)?.iter().try_for_each(|job| self.discard_job(job))?;
        for directory in [RECORDS, "."] {
            for name in self.list(directory)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
                self.discard(directory, name)?;
            }
        }
        Ok(())
    }

    /// Writes a file of ours so that it is there as it was or as it is now, also after a crash of the host.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        // Two imports of one image may come to their end at once.
        let new = path.with_extension(format!("{}{UNFINISHED}", std::process::id()));
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, path)?;
            fs::File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        write().during("write", || path.display().to_string()).doing("write to the store of images")
    }
}

/// Deletes everything in the trash of the store at `images`.
///
/// # Errors
/// The first tree that could not be deleted; the others are.
pub fn empty_trash(images: &Path) -> Result<()> {
    let places = Places { images: images.to_owned() };
    let mut failed = Ok(());
    for name in places.list(TRASH)? {
        let path = places.path(TRASH, &name);
        let gone = match fs::remove_dir_all(&path) {
            Err(error) if error.kind() == ErrorKind::NotADirectory => fs::remove_file(&path),
            done => done,
        };
        if let Err(error) = gone {
            failed = Err(error).during("unlink", || name).doing("empty the trash of the store");
        }
    }
    failed
}

fn make(path: &Path, mode: u32) -> bulkhead_sys::Result<()> {
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        made => made.during("mkdir", || path.display().to_string()),
    }
}

fn open(path: &Path) -> bulkhead_sys::Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).during("open", || path.display().to_string())
}
