//! Reads a tar stream. The loop is our own, so that each byte has one meaning: a member is what its header and the
//! extensions right before it say, and what could be read in two ways is refused.

mod extensions;
#[cfg(any(test, feature = "fuzzing"))]
mod plain;
mod sparse;

use super::failure::{Failure, Outcome, refused};
use super::limits;
use extensions::Extensions;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use plain::Plain;
use std::borrow::Cow;
use tar::{EntryType, Header};

/// Unit of a tar archive.
const RECORD: usize = 512;
const BLOCK: usize = 128 << 10;

/// What a tar stream is read from.
pub(crate) trait Stream {
    /// As many bytes as are there, 0 at the end.
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize>;

    /// Goes on behind `count` bytes.
    fn skip(&mut self, mut count: u64) -> Outcome {
        let mut block = vec![0; BLOCK];
        while count > 0 {
            let most = block.len().min(usize::try_from(count).unwrap_or(usize::MAX));
            match self.read(&mut block[..most])? {
                0 => return cut_short(),
                read => count -= read as u64,
            }
        }
        Ok(())
    }
}

/// One member of an archive; its content is not read yet.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    /// Seconds since 1970, and nanoseconds.
    pub(crate) modified: (i64, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
}

/// What a member is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// Offset and length of the pieces that are in the archive; holes are between them.
    Sparse(Vec<(u64, u64)>),
    Directory,
    Symlink(Vec<u8>),
    Link(Vec<u8>),
    /// A device, a fifo.
    Node,
}

/// The members of a stream, one after the other.
#[derive(Debug)]
pub(crate) struct Members<S> {
    pub(crate) stream: S,
    /// Bytes of content that nobody read yet, and the padding behind them.
    left: u64,
    padding: u64,
}

impl<S: Stream> Members<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, left: 0, padding: 0 }
    }

    /// The next member; `None` at the record of zeros that ends an archive, or where the stream ends.
    pub(crate) fn next(&mut self) -> Outcome<Option<Member>> {
        self.stream.skip(self.left)?;
        self.left = 0;
        self.pass_padding()?;
        let mut extensions = Extensions::default();
        while let Some(header) = self.header()? {
            let size = header.entry_size().map_err(|_| bad("a size"))?;
            match header.entry_type() {
                EntryType::GNULongName => {
                    extensions.long_name(&self.small(size, limits::PATH as u64 + 1)?)?
                }
                EntryType::GNULongLink => {
                    extensions.long_link(&self.small(size, limits::PATH as u64 + 1)?)?
                }
                EntryType::XHeader => extensions.read(&self.small(size, limits::EXTENDED_HEADER)?)?,
                EntryType::XGlobalHeader => {
                    extensions::check_global(&self.small(size, limits::EXTENDED_HEADER)?)?;
                }
                _ => return self.member(&header, extensions).map(Some),
            }
        }
        if extensions.is_empty() { Ok(None) } else { cut_short() }
    }

    /// Goes on behind the padding of a content, which may be missing where the archive ends: umoci leaves it away.
    fn pass_padding(&mut self) -> Outcome {
        let mut rest = [0; RECORD];
        while self.padding > 0 {
            let most = rest.len().min(usize::try_from(self.padding).unwrap_or(usize::MAX));
            match self.stream.read(&mut rest[..most])? {
                0 => self.padding = 0,
                count => self.padding -= count as u64,
            }
        }
        Ok(())
    }

    /// Content of the last member; 0 at its end.
    pub(crate) fn content(&mut self, out: &mut [u8]) -> Outcome<usize> {
        let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if most == 0 {
            return Ok(0);
        }
        let count = self.stream.read(&mut out[..most])?;
        if count == 0 {
            return cut_short();
        }
        self.left -= count as u64;
        Ok(count)
    }

    fn member(&mut self, header: &Header, extensions: Extensions) -> Outcome<Member> {
        let name = extensions.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let link = extensions.link.or_else(|| header.link_name_bytes().map(Cow::into_owned));
        let stored = match extensions.size {
            Some(size) => size,
            None => header.entry_size().map_err(|_| bad("a size"))?,
        };
        let number = |read: std::io::Result<u64>, what| read.map_err(|_| bad(what));
        let modified = match extensions.modified {
            Some(modified) => modified,
            None => (header.mtime().ok().and_then(|at| i64::try_from(at).ok()).unwrap_or(0), 0),
        };
        let kind = match (header.entry_type(), link) {
            // Before POSIX a directory was a file with a slash at its end.
            (EntryType::Regular, _) if name.ends_with(b"/") => Kind::Directory,
            (EntryType::Regular | EntryType::Continuous, _) => Kind::File,
            (EntryType::GNUSparse, _) => Kind::Sparse(self.sparse_pieces(header, stored)?),
            (EntryType::Directory, _) => Kind::Directory,
            (EntryType::Symlink, Some(target)) => Kind::Symlink(target),
            (EntryType::Link, Some(target)) => Kind::Link(target),
            (EntryType::Char | EntryType::Block | EntryType::Fifo, _) => Kind::Node,
            _ => return refused("a layer has a member of a kind that tar does not define"),
        };
        let size = match kind {
            Kind::Sparse(_) => sparse::real_size(header)?,
            _ => stored,
        };
        if !matches!(kind, Kind::File | Kind::Sparse(_)) && stored != 0 {
            return refused("a layer has a link, directory or device with content");
        }
        self.left = stored;
        self.padding = stored.wrapping_neg() % RECORD as u64;
        Ok(Member {
            kind,
            mode: header.mode().map_err(|_| bad("a mode"))?,
            uid: extensions.uid.map_or_else(|| number(header.uid(), "an owner"), Ok)?,
            gid: extensions.gid.map_or_else(|| number(header.gid(), "a group"), Ok)?,
            modified,
            xattrs: extensions.xattrs,
            size,
            name,
        })
    }

    /// The next header with a right sum.
    fn header(&mut self) -> Outcome<Option<Header>> {
        let Some(record) = self.record()? else { return Ok(None) };
        if record.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        // The sum counts its own field as spaces.
        let counted = |(at, byte): (usize, &u8)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) };
        let sum: u32 = record.iter().enumerate().map(counted).sum();
        let header = Header::from_byte_slice(&record);
        if header.cksum().ok() != Some(sum) {
            return refused("a layer is no tar archive: a header has a wrong sum");
        }
        Ok(Some(header.clone()))
    }

    fn record(&mut self) -> Outcome<Option<[u8; RECORD]>> {
        let mut record = [0; RECORD];
        let mut filled = 0;
        while filled < RECORD {
            match self.stream.read(&mut record[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return cut_short(),
                count => filled += count,
            }
        }
        Ok(Some(record))
    }

    /// Content that is not for a file.
    fn small(&mut self, size: u64, most: u64) -> Outcome<Vec<u8>> {
        if size > most {
            return refused(format!("a layer has an extended header or name of {size} bytes"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.stream.read(&mut bytes[filled..])? {
                0 => return cut_short(),
                count => filled += count,
            }
        }
        self.stream.skip(size.wrapping_neg() % RECORD as u64)?;
        Ok(bytes)
    }
}

fn cut_short<T>() -> Outcome<T> {
    refused("an archive is cut short")
}

fn bad(what: &str) -> Failure {
    Failure::Refused(format!("a layer is no tar archive: {what} in a header is no number"))
}

#[cfg(test)]
mod tests;
