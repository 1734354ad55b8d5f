//! Which hierarchies this host has, and where.

use crate::error::{Doing, Error, Result};
use bulkhead_sys::error::Context;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// Controllers that carry limits.
const CONTROLLERS: [&str; 3] = ["memory", "pids", "cpu"];

/// Where limits are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Everything in the v2 tree.
    Unified,
    /// Limits in v1 hierarchies, membership in a v2 tree beside them.
    Hybrid,
}

/// The mount points of this host's hierarchies.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The v2 tree.
    pub(super) unified: PathBuf,
    /// v1 hierarchies by controller; empty where the v2 tree has the controllers.
    pub(super) v1: Vec<(&'static str, PathBuf)>,
}

impl Layout {
    pub(super) fn detect() -> Result<Self> {
        let path = "/proc/self/mounts";
        let mounts = std::fs::read_to_string(path).during("read", || path.into()).doing("find cgroups")?;
        let controllers =
            |root: &Path| std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        Self::from_mounts(&mounts, controllers)
    }

    /// `controllers` reads `cgroup.controllers` of a v2 root.
    fn from_mounts(mounts: &str, controllers: impl Fn(&Path) -> String) -> Result<Self> {
        let rows =
            || mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|row| row.len() > 3);
        let unified = rows()
            .find(|row| row[2] == "cgroup2")
            .map(|row| PathBuf::from(row[1]))
            .ok_or(Error::HostLacks("a cgroup v2 tree"))?;
        let available = controllers(&unified);
        if CONTROLLERS.iter().all(|name| available.split_whitespace().any(|word| word == *name)) {
            return Ok(Self { unified, v1: Vec::new() });
        }
        let mut v1 = Vec::new();
        for controller in CONTROLLERS {
            let row =
                rows().find(|row| row[2] == "cgroup" && row[3].split(',').any(|option| option == controller));
            let row = row.ok_or(Error::HostLacks("the cgroup controllers memory, pids and cpu"))?;
            v1.push((controller, PathBuf::from(row[1])));
        }
        // `cpu,cpuacct` and the like are one hierarchy: one directory in it, not two.
        v1.dedup_by(|a, b| a.1 == b.1);
        Ok(Self { unified, v1 })
    }

    pub(super) fn kind(&self) -> Kind {
        if self.v1.is_empty() { Kind::Unified } else { Kind::Hybrid }
    }

    /// Lets the children of `instance` have limits: on the way down from the root every group must pass the
    /// controllers on.
    pub(super) fn enable_controllers(&self, instance: BorrowedFd<'_>) -> Result<()> {
        let root = std::fs::File::open(&self.unified)
            .during("open", || self.unified.display().to_string())
            .doing("enable controllers")?;
        let text = CONTROLLERS.map(|name| format!("+{name}")).join(" ");
        for directory in [std::os::fd::AsFd::as_fd(&root), instance] {
            super::write(directory, "cgroup.subtree_control", text.as_bytes()).doing("enable controllers")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
        cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n\
        cgroup /sys/fs/cgroup/pids cgroup rw,relatime,pids 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n";

    #[test]
    fn a_hybrid_host_has_its_limits_in_v1() {
        let layout = Layout::from_mounts(HYBRID, |_| "hugetlb".into()).unwrap();
        assert_eq!(layout.kind(), Kind::Hybrid);
        assert_eq!(layout.v1.len(), 3);
        assert_eq!(layout.unified, Path::new("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_unified_host_has_everything_in_one_tree() {
        let mounts = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0\n";
        let layout = Layout::from_mounts(mounts, |_| "cpuset cpu io memory pids".into()).unwrap();
        assert_eq!(layout.kind(), Kind::Unified);
    }

    #[test]
    fn a_host_without_a_v2_tree_or_a_controller_is_refused() {
        let no_tree = HYBRID.replace("cgroup2", "tmpfs");
        assert!(matches!(Layout::from_mounts(&no_tree, |_| String::new()), Err(Error::HostLacks(_))));
        let no_pids = HYBRID.replace("pids", "blkio");
        assert!(matches!(Layout::from_mounts(&no_pids, |_| String::new()), Err(Error::HostLacks(_))));
    }
}
