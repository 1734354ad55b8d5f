//! Members of a zip archive. Names there are text: bytes that are none are replaced.

use super::Sink;
use crate::files::entry::{mode, size};
use crate::files::failure::{Outcome, Stop};
use bulkhead_protocol::files::FileFailure;
use nix::sys::stat::FileStat;
use std::fs::File;
use std::io::Read;
use zip::result::ZipError;
use zip::write::{SimpleFileOptions, ZipWriter};

/// A member of so many bytes needs wide fields.
const LARGE: u64 = u32::MAX as u64;

/// See the module.
pub(crate) struct ZipOut<'a>(ZipWriter<&'a File>);

impl<'a> ZipOut<'a> {
    /// Into this file, which is empty.
    pub(crate) fn new(file: &'a File) -> Self {
        Self(ZipWriter::new(file))
    }

    /// Writes the directory at the end.
    pub(crate) fn finish(self) -> Outcome {
        self.0.finish().map(drop).map_err(|error| unwritten(&error))
    }
}

fn options(stat: &FileStat) -> SimpleFileOptions {
    SimpleFileOptions::default().unix_permissions(mode(stat)).large_file(size(stat) >= LARGE)
}

fn unwritten(error: &ZipError) -> Stop {
    match error {
        ZipError::Io(error) => match error.raw_os_error() {
            Some(errno) => nix::errno::Errno::from_raw(errno).into(),
            None => FileFailure::Internal.into(),
        },
        // Two names became one.
        _ => FileFailure::BadPath.into(),
    }
}

impl Sink for ZipOut<'_> {
    fn directory(&mut self, name: &[u8], stat: &FileStat) -> Outcome {
        let name = String::from_utf8_lossy(name);
        self.0.add_directory(name, options(stat)).map_err(|error| unwritten(&error))
    }

    fn file(&mut self, name: &[u8], stat: &FileStat, content: &mut dyn Read) -> Outcome {
        let name = String::from_utf8_lossy(name);
        self.0.start_file(name, options(stat)).map_err(|error| unwritten(&error))?;
        std::io::copy(content, &mut self.0)?;
        Ok(())
    }

    fn link(&mut self, name: &[u8], stat: &FileStat, target: &[u8]) -> Outcome {
        let (name, target) = (String::from_utf8_lossy(name), String::from_utf8_lossy(target));
        self.0.add_symlink(name, target, options(stat)).map_err(|error| unwritten(&error))
    }
}
