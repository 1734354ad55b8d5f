//! Pieces of a source: a part of an archive, or a file of a layout.

use super::digest::Digest;
use super::failure::{Outcome, Step, refused};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A run of bytes of an open file. It may change while it is read: what counts is what was read, once.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    file: Arc<File>,
    at: u64,
    pub(crate) size: u64,
}

impl Blob {
    pub(crate) fn new(file: Arc<File>, at: u64, size: u64) -> Self {
        Self { file, at, size }
    }

    pub(crate) fn reader(&self) -> BlobReader {
        BlobReader { blob: self.clone(), done: 0 }
    }

    /// All of it, `most` bytes at most.
    pub(crate) fn read(&self, what: &str, most: u64) -> Outcome<Vec<u8>> {
        if self.size > most {
            return refused(format!("{what} has {} bytes; {most} are allowed", self.size));
        }
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes).step("read", what.as_bytes())?;
        if bytes.len() as u64 != self.size {
            return refused(format!("{what} is cut short"));
        }
        Ok(bytes)
    }

    /// All of it, if it is what its descriptor says.
    pub(crate) fn read_checked(&self, what: &str, most: u64, digest: &Digest, size: u64) -> Outcome<Vec<u8>> {
        let bytes = self.read(what, most)?;
        if bytes.len() as u64 != size {
            return refused(format!("{what} has {} bytes, not {size} as it should", bytes.len()));
        }
        if Digest::of(&bytes) != *digest {
            return refused(format!("{what} is not {}: its content is another", digest.as_str()));
        }
        Ok(bytes)
    }
}

/// Reads a [`Blob`] from its beginning.
#[derive(Debug)]
pub(crate) struct BlobReader {
    blob: Blob,
    done: u64,
}

impl Read for BlobReader {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = usize::try_from(self.blob.size - self.done).unwrap_or(usize::MAX);
        let most = out.len().min(left);
        let count = self.blob.file.read_at(&mut out[..most], self.blob.at + self.done)?;
        self.done += count as u64;
        Ok(count)
    }
}
