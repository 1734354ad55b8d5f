//! inotify(7) with paths.

mod follow;

use super::outbox::Outbox;
use crate::files::entry::kind as kind_of;
use crate::files::failure::{Outcome, Stop};
use crate::files::path::{AbsolutePath, Root};
use bulkhead_protocol::files::{EntryKind, EventKind, FileFailure, Hidden, Reach};
use follow::add;
use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags as Flags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use nix::sys::stat::fstat;
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

/// How long the first half of a move waits for the second: the kernel writes both at once.
const PAIR_PATIENCE: Duration = Duration::from_millis(20);

/// Whether what is watched is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    There,
    Gone,
}

/// The first half of a move.
#[derive(Debug)]
struct Left {
    cookie: u32,
    path: Vec<u8>,
    since: Instant,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Watcher {
    inotify: Inotify,
    top: WatchDescriptor,
    paths: HashMap<WatchDescriptor, AbsolutePath>,
    reach: Reach,
    hidden: Hidden,
    left: Vec<Left>,
    /// Found in a new directory, and perhaps told of by the kernel as well.
    found: HashSet<Vec<u8>>,
    state: State,
}

fn flags() -> Flags {
    Flags::IN_CREATE
        | Flags::IN_MODIFY
        | Flags::IN_ATTRIB
        | Flags::IN_DELETE
        | Flags::IN_MOVED_FROM
        | Flags::IN_MOVED_TO
        | Flags::IN_DELETE_SELF
        | Flags::IN_MOVE_SELF
}

/// Too many of the kernel's objects is too many watches.
fn refused(errno: Errno) -> Stop {
    match errno {
        Errno::ENOSPC | Errno::EMFILE => FileFailure::Watches.into(),
        errno => errno.into(),
    }
}

impl Watcher {
    /// Watches a path, with the directories that are below it now where the reach says so.
    pub(crate) fn new(root: &Root, path: &AbsolutePath, reach: Reach, hidden: Hidden) -> Outcome<Self> {
        let found = root.find(path)?;
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC).map_err(refused)?;
        let top = add(&inotify, &found)?;
        let paths = HashMap::from([(top, path.clone())]);
        let (left, found_names) = (Vec::new(), HashSet::new());
        let mut watcher =
            Self { inotify, top, paths, reach, hidden, left, found: found_names, state: State::There };
        if reach == Reach::Below && kind_of(&fstat(&found)?) == EntryKind::Directory {
            watcher.follow_below(root, path, &mut |_| {})?;
        }
        Ok(watcher)
    }

    /// For polling.
    pub(crate) fn inotify(&self) -> &Inotify {
        &self.inotify
    }

    /// See [`State`].
    pub(crate) fn state(&self) -> State {
        self.state
    }

    /// Whether a move has shown one half only.
    pub(crate) fn waits_for_pairs(&self) -> bool {
        !self.left.is_empty()
    }

    /// Reads all that there is.
    pub(crate) fn read(&mut self, root: &Root, outbox: &mut Outbox) -> Outcome {
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        self.take(root, &event, outbox);
                    }
                }
                Err(Errno::EAGAIN) => break,
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        // What the kernel told of a new directory while it was looked at has been read by now.
        self.found.clear();
        Ok(())
    }

    /// A move out of what is watched is a delete.
    pub(crate) fn give_up_pairs(&mut self, outbox: &mut Outbox) {
        while let Some(at) = self.left.iter().position(|left| left.since.elapsed() >= PAIR_PATIENCE) {
            let left = self.left.remove(at);
            self.forget_below(&left.path);
            outbox.push(EventKind::Deleted, &left.path, None);
        }
    }

    fn take(&mut self, root: &Root, event: &InotifyEvent, outbox: &mut Outbox) {
        let mask = event.mask;
        if mask.contains(Flags::IN_Q_OVERFLOW) {
            return outbox.overflow();
        }
        if mask.contains(Flags::IN_IGNORED) {
            self.paths.remove(&event.wd);
            if event.wd == self.top {
                self.state = State::Gone;
            }
            return;
        }
        let Some(directory) = self.paths.get(&event.wd) else { return };
        match &event.name {
            Some(name) => {
                let path = directory.join(name.as_bytes());
                self.entry(root, event, &path, outbox);
            }
            // A directory below is told of by the one it lies in.
            None if event.wd == self.top => {
                let path = directory.bytes().to_vec();
                self.itself(mask, &path, outbox);
            }
            None => {}
        }
    }

    fn itself(&mut self, mask: Flags, path: &[u8], outbox: &mut Outbox) {
        if mask.intersects(Flags::IN_DELETE_SELF | Flags::IN_MOVE_SELF) {
            self.state = State::Gone;
            outbox.push(EventKind::Deleted, path, None);
        } else if mask.contains(Flags::IN_MODIFY) {
            outbox.push(EventKind::Modified, path, None);
        } else if mask.contains(Flags::IN_ATTRIB) {
            outbox.push(EventKind::Chmod, path, None);
        }
    }

    fn entry(&mut self, root: &Root, event: &InotifyEvent, path: &[u8], outbox: &mut Outbox) {
        let mask = event.mask;
        let kind = if mask.contains(Flags::IN_ISDIR) { EntryKind::Directory } else { EntryKind::File };
        let shown = self.shows(path);
        if mask.contains(Flags::IN_MOVED_TO) {
            let from = self.left.iter().position(|left| left.cookie == event.cookie);
            let from = from.map(|at| self.left.remove(at).path);
            match (from, shown) {
                (Some(from), true) => {
                    self.rename_below(&from, path);
                    outbox.push(EventKind::Renamed, path, Some(&from));
                }
                (Some(from), false) => {
                    self.forget_below(&from);
                    outbox.push(EventKind::Deleted, &from, None);
                }
                (None, true) => self.appeared(root, path, kind, outbox),
                (None, false) => {}
            }
        } else if !shown {
            // Nobody wants to know.
        } else if mask.contains(Flags::IN_MOVED_FROM) {
            self.left.push(Left { cookie: event.cookie, path: path.to_vec(), since: Instant::now() });
        } else if mask.contains(Flags::IN_CREATE) {
            if !self.found.remove(path) {
                self.appeared(root, path, kind, outbox);
            }
        } else if mask.contains(Flags::IN_DELETE) {
            outbox.push(EventKind::Deleted, path, None);
        } else if mask.contains(Flags::IN_MODIFY) {
            outbox.push(EventKind::Modified, path, None);
        } else if mask.contains(Flags::IN_ATTRIB) {
            outbox.push(EventKind::Chmod, path, None);
        }
    }

    fn shows(&self, path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        self.hidden == Hidden::Show || !name.starts_with(b".")
    }
}
