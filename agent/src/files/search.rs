//! Names below a directory.

use super::failure::{Outcome, failed};
use super::glob::Pattern;
use super::path::{AbsolutePath, Root};
use super::tree::{Depth, Entries, look, open_directory};
use super::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, FileFailure, MAX_FOUND, MAX_PATTERN};
use nix::dir::Type;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;

/// The first paths in the order of their names, as many as wanted.
#[derive(Debug)]
struct Search<'a> {
    pattern: Pattern<'a>,
    limit: usize,
    found: BTreeSet<Vec<u8>>,
}

/// Finds the regular files whose names match.
pub(crate) fn search(
    root: &Root,
    path: &AbsolutePath,
    pattern: &[u8],
    limit: u32,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    if pattern.len() > MAX_PATTERN {
        return failed(FileFailure::Bounds);
    }
    let directory = root.open_directory(path)?;
    wire.begin()?;
    let limit = usize::try_from(limit.min(MAX_FOUND)).unwrap_or(usize::MAX);
    let mut search = Search { pattern: Pattern::new(pattern), limit, found: BTreeSet::new() };
    search.below(directory, &path.join(b""), Depth::TOP, wire)?;
    for mut path in search.found {
        path.push(0);
        wire.text(&path)?;
    }
    Ok(FileDone::default())
}

impl Search<'_> {
    /// `path` ends with a slash.
    fn below(&mut self, directory: OwnedFd, path: &[u8], depth: Depth, wire: &mut Wire) -> Outcome {
        let below = depth.below()?;
        Entries::of(directory)?.each(|directory, entry| {
            wire.beat()?;
            let name = entry.name.to_bytes();
            let kind = match entry.kind {
                Some(kind) => kind,
                None => match look(&directory, &entry.name).map(|stat| super::entry::kind(&stat)) {
                    Ok(EntryKind::Directory) => Type::Directory,
                    Ok(EntryKind::File) => Type::File,
                    Ok(_) | Err(_) => return Ok(()),
                },
            };
            match kind {
                Type::File if self.pattern.matches(name) => self.keep([path, name].concat()),
                Type::Directory => match open_directory(&directory, &entry.name) {
                    Ok(opened) => self.below(opened, &[path, name, b"/"].concat(), below, wire)?,
                    // Gone or replaced since the look, or not for this user.
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES) => {}
                    Err(errno) => return Err(errno.into()),
                },
                _ => {}
            }
            Ok(())
        })
    }

    fn keep(&mut self, path: Vec<u8>) {
        self.found.insert(path);
        if self.found.len() > self.limit {
            self.found.pop_last();
        }
    }
}
