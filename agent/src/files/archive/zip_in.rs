//! Reads a zip archive: what its directory at the end says, and nothing that two readers could see differently.

use super::target::Target;
use super::{BLOCK, unreadable};
use crate::files::failure::{Outcome, Stop, failed};
use crate::files::wire::Wire;
use bulkhead_protocol::files::{FileFailure, MAX_ARCHIVE_ENTRIES, MAX_PATH};
use std::fs::File;
use std::io::{BufReader, Read};
use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

type Archive = ZipArchive<BufReader<File>>;

/// Bits of a file whose maker had none.
const FILE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o755;
/// The type in an inode's mode, and those types that are neither file, directory nor link.
const TYPE: u32 = 0o170_000;
const SPECIAL: [u32; 4] = [0o010_000, 0o020_000, 0o060_000, 0o140_000];

fn bad(error: ZipError) -> Stop {
    match error {
        ZipError::Io(error) => unreadable(&error),
        _ => FileFailure::BadArchive.into(),
    }
}

/// Unpacks all members.
pub(crate) fn unpack(file: File, target: &mut Target, wire: &mut Wire) -> Outcome {
    let mut archive = ZipArchive::new(BufReader::with_capacity(BLOCK, file)).map_err(bad)?;
    if u64::try_from(archive.len()).unwrap_or(u64::MAX) > MAX_ARCHIVE_ENTRIES {
        return failed(FileFailure::Bounds);
    }
    check_ranges(&mut archive, wire)?;
    for index in 0..archive.len() {
        wire.beat()?;
        let mut entry = archive.by_index(index).map_err(bad)?;
        member(&mut entry, target, wire)?;
    }
    Ok(())
}

/// Content that belongs to several members unpacks to more than any ratio allows; passwords are not asked for.
fn check_ranges(archive: &mut Archive, wire: &mut Wire) -> Outcome {
    let mut ranges = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        wire.beat()?;
        let entry = archive.by_index_raw(index).map_err(bad)?;
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
