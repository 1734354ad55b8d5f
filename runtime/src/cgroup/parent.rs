//! Where in the v2 tree the groups of an instance lie: at its root, or below a group that somebody else keeps.

use super::layout::{Kind, Layout};
use super::{birth, directories, find, remove_directory};
use crate::error::{Doing, Error, Result};
use bulkhead_sys::error::Context;
use nix::errno::Errno;
use nix::sys::stat::Mode;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};

/// The file of a state directory with the parent of its groups, so that whoever opens them finds them.
const FILE: &str = "cgroup-parent";

/// A group by its path below the root of the v2 tree; empty is the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CgroupParent(PathBuf);

impl CgroupParent {
    /// The group at a path, with or without a slash before it, as `/proc/PID/cgroup` has it. `None` where a part of it
    /// is no plain name.
    #[must_use]
    pub fn at(path: &Path) -> Option<Self> {
        let path = path.strip_prefix("/").unwrap_or(path);
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        plain.then(|| Self(path.to_owned()))
    }

    /// What was used last with a state directory.
    pub(crate) fn read(state_dir: &Path) -> Result<Self> {
        let path = state_dir.join(FILE);
        let problem = |problem| Error::Directory { path: path.clone(), problem };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::at(Path::new(text.trim_end())).ok_or_else(|| problem("names no cgroup")),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => {
                Err(error).during("read", || path.display().to_string()).doing("find the instance's cgroup")
            }
        }
    }

    fn write(&self, state_dir: &Path) -> Result<()> {
        let path = state_dir.join(FILE);
        std::fs::write(&path, self.0.as_os_str().as_encoded_bytes())
            .during("write", || path.display().to_string())
            .doing("remember the instance's cgroup")
    }

    /// The groups from the root of a tree down to this one, both among them.
    pub(super) fn chain<'a>(&'a self, root: &'a Path) -> impl Iterator<Item = PathBuf> + 'a {
        let below = self.0.components().scan(root.to_owned(), |path, part| {
            path.push(part);
            Some(path.clone())
        });
        std::iter::once(root.to_owned()).chain(below)
    }

    pub(super) fn path(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }

    /// Where the groups of an instance are from now on. Sandboxes cannot be moved: while some of an earlier start run
    /// elsewhere, that place stays.
    pub(super) fn settle(self, instance: &str, state_dir: &Path, layout: &Layout) -> Result<Self> {
        let wanted = self.where_limits_are(layout);
        let last = Self::read(state_dir)?;
        if last == wanted {
            return Ok(last);
        }
        if !remove_unused(&last.path(&layout.unified), instance)? {
            let (last_path, wanted_path) = (last.0.display(), wanted.0.display());
            tracing::warn!("sandboxes run below /{last_path}: /{wanted_path} is used once none does");
            return Ok(last);
        }
        // Nothing lies at either place: a crash right here, or half a file, loses nobody.
        wanted.write(state_dir)?;
        Ok(wanted)
    }

    /// Where limits are in v1 hierarchies a parent in the v2 tree would bound nothing.
    fn where_limits_are(self, layout: &Layout) -> Self {
        if layout.kind() == Kind::Unified || self == Self::default() {
            return self;
        }
        tracing::warn!("cgroup-parent means nothing on this host: limits are in v1 hierarchies");
        Self::default()
    }
}

/// Removes the group of an instance with what a runtime left there. False while a sandbox has one.
fn remove_unused(parent: &Path, instance: &str) -> Result<bool> {
    const DOING: &str = "remove the instance's old cgroup";
    let parent = match nix::fcntl::open(parent, super::DIRECTORY, Mode::empty()) {
        // With the slice went everything below.
        Err(Errno::ENOENT) => return Ok(true),
        opened => opened.during("open", || parent.display().to_string()).doing(DOING)?,
    };
    let Some(group) = find(parent.as_fd(), instance).doing(DOING)? else { return Ok(true) };
    for home in directories(group.as_fd()).doing(DOING)?.iter().filter(|name| birth::is_runtimes_own(name)) {
        if !remove_directory(group.as_fd(), home).doing(DOING)? {
            return Ok(false);
        }
    }
    remove_directory(parent.as_fd(), instance).doing(DOING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parent_is_a_path_of_plain_names() {
        let at = |path: &str| CgroupParent::at(Path::new(path));
        assert_eq!(at("/bulkhead.slice"), at("bulkhead.slice/"));
        assert_eq!(at("/"), Some(CgroupParent::default()));
        for path in ["..", "/a/../b", "//../a"] {
            assert_eq!(at(path), None, "{path}");
        }
    }

    #[test]
    fn controllers_are_passed_on_from_the_root_down() {
        let parent = CgroupParent::at(Path::new("/a/b")).unwrap();
        let chain: Vec<_> = parent.chain(Path::new("/c")).collect();
        assert_eq!(chain, ["/c", "/c/a", "/c/a/b"].map(PathBuf::from));
    }

    #[test]
    fn what_was_written_is_read_and_nothing_is_the_root() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(CgroupParent::read(state.path()).unwrap(), CgroupParent::default());
        let parent = CgroupParent::at(Path::new("/a.slice/b.slice")).unwrap();
        parent.write(state.path()).unwrap();
        assert_eq!(CgroupParent::read(state.path()).unwrap(), parent);
        std::fs::write(state.path().join(FILE), "../x").unwrap();
        assert!(CgroupParent::read(state.path()).is_err());
    }
}
