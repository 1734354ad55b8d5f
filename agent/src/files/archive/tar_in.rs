//! Reads a tar stream. The loop is our own, so that each byte has one meaning: a member is what its header and the
//! extensions right before it say, and what is ambiguous (a link or directory with content, sparse files, two long
//! names) is no archive. GNU long names and pax records are understood.

use super::target::Target;
use super::{BLOCK, unreadable};
use crate::files::failure::{Outcome, failed};
use bulkhead_protocol::files::{FileFailure, MAX_PATH};
use std::io::Read;
use tar::{EntryType, Header};

/// Unit of a tar archive.
const RECORD: usize = 512;
/// Longest pax record list in bytes.
const MAX_PAX: u64 = 64 << 10;

/// Where a tar stream comes from, and whoever waits for it.
pub(crate) trait Source {
    /// As many bytes as are there, 0 at the end.
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize>;
    /// Called for each member.
    fn beat(&mut self) -> Outcome;
}

/// A decoder with somebody who is told that it goes on.
pub(crate) struct Decoded<'a> {
    pub(crate) reader: Box<dyn Read>,
    pub(crate) wire: &'a mut crate::files::wire::Wire,
}

impl Source for Decoded<'_> {
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize> {
        self.wire.beat()?;
        self.reader.read(out).map_err(|error| unreadable(&error))
    }

    fn beat(&mut self) -> Outcome {
        self.wire.beat()
    }
}

/// What extensions say of the next member.
#[derive(Debug, Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    modified: Option<i64>,
}

/// Unpacks all members.
pub(crate) fn unpack(source: &mut dyn Source, target: &mut Target) -> Outcome {
    let mut extensions = Extensions::default();
    while let Some(header) = next_header(source)? {
        source.beat()?;
        let size = header.entry_size().map_err(|_| FileFailure::BadArchive)?;
        match header.entry_type() {
            EntryType::GNULongName => set(&mut extensions.name, long_text(source, size)?)?,
            EntryType::GNULongLink => set(&mut extensions.link, long_text(source, size)?)?,
            EntryType::XHeader => extensions.read(&small(source, size, MAX_PAX)?)?,
            // Of all members that follow: comments, in practice.
            EntryType::XGlobalHeader => drop(small(source, size, MAX_PAX)?),
            _ => member(source, target, &header, std::mem::take(&mut extensions))?,
        }
    }
    Ok(())
}

fn member(source: &mut dyn Source, target: &mut Target, header: &Header, extensions: Extensions) -> Outcome {
    let bad = |_| FileFailure::BadArchive;
    let name = extensions.name.unwrap_or_else(|| header.path_bytes().into_owned());
    let link = extensions.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
    let size = extensions.size.unwrap_or(header.entry_size().map_err(bad)?);
    let mode = header.mode().map_err(bad)?;
    let modified = extensions.modified.or_else(|| i64::try_from(header.mtime().ok()?).ok());
    let kind = header.entry_type();
    // Before POSIX a directory was a file with a slash at its end.
    let directory = kind == EntryType::Directory || (kind == EntryType::Regular && name.ends_with(b"/"));
    let is_file = !directory && matches!(kind, EntryType::Regular | EntryType::Continuous);
    if !is_file && size != 0 {
        return failed(FileFailure::BadArchive);
    }
    match (kind, link) {
        _ if directory => target.directory(&name, mode),
        _ if is_file => {
            let mut file = target.file(&name, mode)?;
            each_block(source, size, &mut |block| file.write(block))?;
            pass_padding(source, size)?;
            file.finish(modified)
        }
        (EntryType::Symlink, Some(link)) => target.link(&name, &link),
        (EntryType::Link, Some(link)) => target.hard_link(&name, &link),
        (EntryType::GNUSparse | EntryType::Symlink | EntryType::Link, _) => failed(FileFailure::BadArchive),
        _ => failed(FileFailure::Hostile),
    }
}

impl Extensions {
    fn read(&mut self, records: &[u8]) -> Outcome {
        let mut rest = records;
        while !rest.is_empty() {
            let (key, value, after) = pax_record(rest).ok_or(FileFailure::BadArchive)?;
            rest = after;
            let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse::<u64>().ok());
            match key {
                b"path" => set(&mut self.name, value.to_vec())?,
                b"linkpath" => set(&mut self.link, value.to_vec())?,
                b"size" => self.size = Some(number().ok_or(FileFailure::BadArchive)?),
                b"mtime" => {
                    let seconds = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                    self.modified = std::str::from_utf8(seconds).ok().and_then(|text| text.parse().ok());
                }
                key if key.starts_with(b"GNU.sparse") => return failed(FileFailure::BadArchive),
                _ => {}
            }
        }
        Ok(())
    }
}

/// `LENGTH KEY=VALUE\n`: key, value and what follows. The length counts all of it, so a value may hold anything.
fn pax_record(records: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&records[..space]).ok()?.parse().ok()?;
    let record = records.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], &records[length..]))
}

/// Two names for one member are one too many.
fn set(slot: &mut Option<Vec<u8>>, value: Vec<u8>) -> Outcome {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => failed(FileFailure::BadArchive),
    }
}

/// The next header with a right sum; `None` at the record of zeros that ends an archive, or at the end of the stream.
fn next_header(source: &mut dyn Source) -> Outcome<Option<Header>> {
    let mut record = [0; RECORD];
    let mut filled = 0;
    while filled < RECORD {
        match source.read(&mut record[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return failed(FileFailure::BadArchive),
            count => filled += count,
        }
    }
    if record.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let header = Header::from_byte_slice(&record);
    // The sum counts its own field as spaces.
    let sum: u32 = record
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u32::from(b' '),
            _ => u32::from(*byte),
        })
        .sum();
    if header.cksum().ok() != Some(sum) {
        return failed(FileFailure::BadArchive);
    }
    Ok(Some(header.clone()))
}

fn long_text(source: &mut dyn Source, size: u64) -> Outcome<Vec<u8>> {
    let mut text = small(source, size, u64::try_from(MAX_PATH).unwrap_or(u64::MAX))?;
    if text.last() == Some(&0) {
        text.pop();
    }
    Ok(text)
}

/// Content that is not for a file.
fn small(source: &mut dyn Source, size: u64, most: u64) -> Outcome<Vec<u8>> {
    if size > most {
        return failed(FileFailure::BadArchive);
    }
    let mut bytes = Vec::new();
    each_block(source, size, &mut |block| {
        bytes.extend_from_slice(block);
        Ok(())
    })?;
    pass_padding(source, size)?;
    Ok(bytes)
}

fn each_block(source: &mut dyn Source, mut size: u64, take: &mut dyn FnMut(&[u8]) -> Outcome) -> Outcome {
    let mut block = vec![0; BLOCK.min(usize::try_from(size).unwrap_or(usize::MAX))];
    while size > 0 {
        let most = block.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        let count = source.read(&mut block[..most])?;
        if count == 0 {
            return failed(FileFailure::BadArchive);
        }
        take(&block[..count])?;
        size -= u64::try_from(count).unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Content is filled up to whole records.
fn pass_padding(source: &mut dyn Source, size: u64) -> Outcome {
    let record = u64::try_from(RECORD).unwrap_or(u64::MAX);
    each_block(source, size.next_multiple_of(record) - size, &mut |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pax_record_ends_where_its_length_says() {
        let two = b"12 path=a\nb\n9 size=1\n";
        let (key, value, rest) = pax_record(two).unwrap();
        assert_eq!((key, value, rest), (b"path".as_slice(), b"a\nb".as_slice(), b"9 size=1\n".as_slice()));
        for bad in ["", "x", "5 a=b", "99 a=b\n", "2 a=b\n", "0 a=b\n", "6 abc\n", "-6 a=b\n"] {
            assert_eq!(pax_record(bad.as_bytes()), None, "{bad:?}");
        }
    }
}
