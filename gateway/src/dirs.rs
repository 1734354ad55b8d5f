//! Directories that are held open, so that sockets in them have short names: `sun_path` ends after 108 bytes,
//! a path below `/proc/self/fd/N` never comes near (unix(7)). Must never resolve a name that a client chose.

use crate::error::Error;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

/// One open directory.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(path, flags, Mode::empty())
            .map_err(|errno| Error::file("open the directory", path, errno.into()))?;
        Ok(Self { fd })
    }

    /// A short path of the entry `name`.
    pub(crate) fn entry(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()))
    }
}
