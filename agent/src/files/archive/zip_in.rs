//! Reads a zip archive: what its directory at the end says, and nothing that two readers could see differently.

use super::target::Target;
use super::{BLOCK, unreadable};
use crate::files::failure::{Outcome, Stop, failed};
use crate::files::wire::Wire;
use bulkhead_protocol::files::{FileFailure, MAX_ARCHIVE_ENTRIES, MAX_PATH, MAX_ZIP_DIRECTORY};
use std::cell::Cell;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::rc::Rc;
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

type Archive = ZipArchive<BufReader<Bounded>>;

/// Bits of a file whose maker had none.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
/// The type in an inode's mode, and those types that are neither file, directory nor link.
const TYPE: u32 = 0o170_000;
const SPECIAL: [u32; 4] = [0o010_000, 0o020_000, 0o060_000, 0o140_000];

/// Where the length of the name stands in the header before a member's content, and where the name begins.
const NAME_LENGTH: u64 = 26;
const NAME: u64 = 30;

/// A file of which so many bytes may be read.
struct Bounded {
    file: File,
    left: Rc<Cell<u64>>,
}

impl Read for Bounded {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let left = self.left.get();
        if left == 0 {
            return Err(ErrorKind::FileTooLarge.into());
        }
        let most = out.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut out[..most])?;
        self.left.set(left - u64::try_from(count).unwrap_or(left));
        Ok(count)
    }
}

impl Seek for Bounded {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}

fn bad(error: ZipError) -> Stop {
    match error {
        ZipError::Io(error) => unreadable(&error),
        _ => FileFailure::BadArchive.into(),
    }
}

/// Unpacks all members.
pub(crate) fn unpack(file: File, target: &mut Target, wire: &mut Wire) -> Outcome {
    let headers = file.try_clone()?;
    let left = Rc::new(Cell::new(MAX_ZIP_DIRECTORY));
    let bounded = Bounded { file, left: Rc::clone(&left) };
    let mut archive = ZipArchive::new(BufReader::with_capacity(BLOCK, bounded))
        .map_err(|error| if left.get() == 0 { FileFailure::Bounds.into() } else { bad(error) })?;
    left.set(u64::MAX);
    if u64::try_from(archive.len()).unwrap_or(u64::MAX) > MAX_ARCHIVE_ENTRIES {
        return failed(FileFailure::Bounds);
    }
    check(&mut archive, &headers, wire)?;
    for index in 0..archive.len() {
        wire.beat()?;
        let mut entry = archive.by_index(index).map_err(bad)?;
        member(&mut entry, target, wire)?;
    }
    Ok(())
}

/// Content that belongs to several members unpacks to more than any ratio allows, a second name for a member is what
/// another reader would see, and passwords are not asked for.
fn check(archive: &mut Archive, headers: &File, wire: &mut Wire) -> Outcome {
    let mut ranges = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        wire.beat()?;
        let entry = archive.by_index_raw(index).map_err(bad)?;
        if name_before_content(headers, entry.header_start())? != entry.name_raw() {
            return failed(FileFailure::BadArchive);
        }
        if entry.encrypted() {
            return failed(FileFailure::BadArchive);
        }
        let data = entry.data_start().ok_or(FileFailure::BadArchive)?;
        let end = data.checked_add(entry.compressed_size()).ok_or(FileFailure::BadArchive)?;
        ranges.push((entry.header_start(), end));
    }
    ranges.sort_unstable();
    match ranges.windows(2).any(|pair| pair[0].1 > pair[1].0) {
        true => failed(FileFailure::Hostile),
        false => Ok(()),
    }
}

/// The name in the header before a member's content, at `start`.
fn name_before_content(file: &File, start: u64) -> Outcome<Vec<u8>> {
    let read = |at: u64, bytes: &mut [u8]| match start.checked_add(at) {
        Some(at) => file.read_exact_at(bytes, at).map_err(|error| unreadable(&error)),
        None => failed(FileFailure::BadArchive),
    };
    let mut length = [0; 2];
    read(NAME_LENGTH, &mut length)?;
    let mut name = vec![0; usize::from(u16::from_le_bytes(length))];
    read(NAME, &mut name)?;
    Ok(name)
}

fn member<R: Read>(entry: &mut ZipFile<'_, R>, target: &mut Target, wire: &mut Wire) -> Outcome {
    let name = entry.name_raw().to_vec();
    let mode = entry.unix_mode();
    if mode.is_some_and(|mode| SPECIAL.contains(&(mode & TYPE))) {
        return failed(FileFailure::Hostile);
    }
    // Backslashes are names' own bytes here; whoever means steps by them finds them in one name.
    if name.ends_with(b"/") {
        return target.directory(&name, mode.unwrap_or(DIRECTORY_MODE));
    }
    if entry.is_symlink() {
        let mut link = Vec::new();
        let most = u64::try_from(MAX_PATH).unwrap_or(u64::MAX);
        entry.take(most).read_to_end(&mut link).map_err(|error| unreadable(&error))?;
        return target.link(&name, &link);
    }
    let mut file = target.file(&name, mode.unwrap_or(FILE_MODE))?;
    let mut block = vec![0; BLOCK];
    loop {
        wire.beat()?;
        match entry.read(&mut block).map_err(|error| unreadable(&error))? {
            0 => return file.finish(None),
            count => file.write(&block[..count])?,
        }
    }
}
