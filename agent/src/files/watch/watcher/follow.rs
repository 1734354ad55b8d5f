//! Directories below, as they come, move and go.

use super::super::outbox::Outbox;
use super::{Watcher, flags, refused};
use crate::files::entry::kind as kind_of;
use crate::files::failure::{Outcome, Stop};
use crate::files::path::{AbsolutePath, Root};
use crate::files::tree::{Entries, Name, look};
use bulkhead_protocol::files::{EntryKind, EventKind, FileFailure, MAX_DEPTH, MAX_WATCH_DIRECTORIES, Reach};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::inotify::{Inotify, WatchDescriptor};
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, OwnedFd};

/// Watches what is open, whatever its name has come to mean.
pub(super) fn add(inotify: &Inotify, open: &OwnedFd) -> Outcome<WatchDescriptor> {
    let name = format!("/proc/self/fd/{}", open.as_raw_fd());
    inotify.add_watch(name.as_str(), flags()).map_err(refused)
}

impl Watcher {
    /// Something is new: tells of it, and where it is a directory of everything that is in it already.
    pub(super) fn appeared(&mut self, root: &Root, path: &[u8], kind: EntryKind, outbox: &mut Outbox) {
        outbox.push(EventKind::Created, path, None);
        if self.reach == Reach::Here || kind != EntryKind::Directory {
            return;
        }
        let mut new = Vec::new();
        let followed = self.follow(root, path, &mut |path| new.push(path));
        for path in new {
            outbox.push(EventKind::Created, &path, None);
            self.found.insert(path);
        }
        match followed {
            // What went again is told of by itself.
            Ok(()) | Err(Stop::Failed(FileFailure::NotFound | FileFailure::NotDirectory)) => {}
            // Not all of it could be followed: look for yourself.
            Err(_) => outbox.overflow(),
        }
    }

    /// Watches a directory and those below; calls `found` for all that is in them.
    fn follow(&mut self, root: &Root, path: &[u8], found: &mut dyn FnMut(Vec<u8>)) -> Outcome {
        let path = AbsolutePath::new(path.to_vec())?;
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let directory = match root.open(&path, flags, Mode::empty()) {
            Err(Errno::EACCES | Errno::ELOOP) => return Ok(()),
            opened => opened?,
        };
        if self.paths.len() >= MAX_WATCH_DIRECTORIES {
            return Err(FileFailure::Watches.into());
        }
        match add(&self.inotify, &directory) {
            Err(Stop::Failed(FileFailure::Denied)) => return Ok(()),
            added => drop(self.paths.insert(added?, path.clone())),
        }
        self.follow_below(root, &path, found)
    }

    /// The same for what is in a directory that is watched already.
    pub(super) fn follow_below(
        &mut self,
        root: &Root,
        path: &AbsolutePath,
        found: &mut dyn FnMut(Vec<u8>),
    ) -> Outcome {
        if path.bytes().iter().filter(|byte| **byte == b'/').count() > usize::try_from(MAX_DEPTH).unwrap_or(0)
        {
            return Err(FileFailure::Bounds.into());
        }
        let directory = match root.open_directory(path) {
            Err(Errno::EACCES) => return Ok(()),
            opened => opened?,
        };
        Entries::of(directory)?.each(|directory, Name { name, .. }| {
            let below = path.join(name.to_bytes());
            if !self.shows(&below) {
                return Ok(());
            }
            let is_directory =
                look(&directory, name).is_ok_and(|stat| kind_of(&stat) == EntryKind::Directory);
            found(below.clone());
            if !is_directory {
                return Ok(());
            }
            match self.follow(root, &below, found) {
                Err(Stop::Failed(FileFailure::NotFound | FileFailure::NotDirectory)) => Ok(()),
                followed => followed,
            }
        })
    }

    /// What is below a directory that moved has other paths.
    pub(super) fn rename_below(&mut self, from: &[u8], to: &[u8]) {
        for path in self.paths.values_mut() {
            let rest = match path.bytes().strip_prefix(from) {
                Some(rest) if rest.is_empty() || rest.starts_with(b"/") => rest,
                _ => continue,
            };
            if let Ok(new) = AbsolutePath::new([to, rest].concat()) {
                *path = new;
            }
        }
    }

    /// What is below a directory that left is watched no more.
    pub(super) fn forget_below(&mut self, from: &[u8]) {
        let gone: Vec<_> = self
            .paths
            .iter()
            .filter(|(_, path)| {
                let rest = path.bytes().strip_prefix(from);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
            })
            .map(|(watch, _)| *watch)
            .collect();
        for watch in gone {
            self.paths.remove(&watch);
            // It may be gone by itself.
            match self.inotify.rm_watch(watch) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}
