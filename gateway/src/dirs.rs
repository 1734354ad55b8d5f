//! Directories that are held open, so that sockets in them have short names: `sun_path` ends after 108 bytes,
//! a path below `/proc/self/fd/N` never comes near (unix(7)). Must never resolve a name that a client chose.

use crate::error::Error;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::{self, Read};
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

    /// The text of the entry `name`, which is no link: its first `most` bytes and one, so that a longer one is no shorter.
    pub(crate) fn read(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        // What would make a reader wait, a pipe for one, does not.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty())?);
        let mut text = Vec::with_capacity(most + 1);
        file.take(u64::try_from(most + 1).unwrap_or(u64::MAX)).read_to_end(&mut text)?;
        Ok(text)
    }

    /// A short path of the entry `name`.
    pub(crate) fn entry(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()))
    }
}
