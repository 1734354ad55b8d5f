//! Members of a tar archive.

use super::Sink;
use crate::files::entry::{mode, size};
use crate::files::failure::Outcome;
use nix::sys::stat::FileStat;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use tar::{Builder, EntryType, Header};

/// See the module.
pub(crate) struct TarOut<W: Write>(Builder<W>);

impl<W: Write> TarOut<W> {
    /// Into this writer.
    pub(crate) fn new(writer: W) -> Self {
        Self(Builder::new(writer))
    }

    /// Writes the end, and gives the writer back.
    pub(crate) fn finish(self) -> Outcome<W> {
        Ok(self.0.into_inner()?)
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn header(kind: EntryType, stat: &FileStat, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode(stat));
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(bytes);
    header
}

impl<W: Write> Sink for TarOut<W> {
    fn directory(&mut self, name: &[u8], stat: &FileStat) -> Outcome {
        let name = [name, b"/"].concat();
        let mut header = header(EntryType::Directory, stat, 0);
        Ok(self.0.append_data(&mut header, path(&name), std::io::empty())?)
    }

    fn file(&mut self, name: &[u8], stat: &FileStat, content: &mut dyn Read) -> Outcome {
        let mut header = header(EntryType::Regular, stat, size(stat));
        Ok(self.0.append_data(&mut header, path(name), content)?)
    }

    fn link(&mut self, name: &[u8], stat: &FileStat, target: &[u8]) -> Outcome {
        let mut header = header(EntryType::Symlink, stat, 0);
        Ok(self.0.append_link(&mut header, path(name), path(target))?)
    }
}
