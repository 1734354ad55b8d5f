//! Which hierarchies this host has, and where.

use super::CgroupParent;
use crate::error::{Doing, Error, Result};
use bulkhead_sys::call::mount::attr;
use bulkhead_sys::error::Context;
use bulkhead_sys::filesystem;
use bulkhead_sys::host::Facts;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What is missing where no v2 tree is mounted.
const NO_TREE: &str = "a cgroup v2 tree";
const NO_CONTROLLERS: &str = "the cgroup controllers memory, pids and cpu";
/// The controller of huge pages; without it there is no bound to set.
const HUGE_PAGES: &str = "hugetlb";
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
#[derive(Debug)]
pub(crate) struct Layout {
    /// The v2 tree.
    pub(super) unified: PathBuf,
    /// v1 hierarchies by controller; empty where the v2 tree has the controllers.
    pub(super) v1: Vec<(&'static str, PathBuf)>,
    pub(super) huge_pages: HugePages,
    kind: Kind,
    /// The v2 tree, where this process had to mount it: held, since [`Self::unified`] names it by its number.
    _own: Option<OwnedFd>,
}

/// Where huge pages are bounded, if anywhere: a host without the controller has a pool that all share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HugePages {
    pub(super) tree: Option<Kind>,
    /// As they stand in the names of files, `2MB`.
    pub(super) sizes: Vec<String>,
}

/// Where a v2 tree is mounted on a host that has none.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stand<'a> {
    /// At this directory, in a mount namespace of this process alone.
    At(&'a Path),
    /// Nowhere: good for opening groups, not for mounting them anew.
    Nowhere,
}

impl Layout {
    pub(super) fn detect(stand: Stand<'_>) -> Result<Self> {
        let path = "/proc/self/mounts";
        let mounts = std::fs::read_to_string(path).during("read", || path.into()).doing("find cgroups")?;
        let controllers =
            |root: &Path| std::fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let mut layout = match Self::from_mounts(&mounts, controllers) {
            Err(Error::HostLacks(NO_TREE)) => {
                // Every kernel has the tree; hosts that use v1 alone just do not mount it. Nobody else sees ours.
                let own = mount_tree(stand)?;
                // With a dot at its end, since links at the end of a path are not followed.
                let row = format!("own /proc/self/fd/{}/. cgroup2 rw 0 0\n", own.as_raw_fd());
                Self { _own: Some(own), ..Self::from_mounts(&format!("{row}{mounts}"), controllers)? }
            }
            found => found?,
        };
        layout.huge_pages.sizes = huge_page_sizes();
        Ok(layout)
    }

    /// How limits and membership lie on a host, in a few words.
    pub(crate) fn of_host(facts: &dyn Facts) -> Result<&'static str> {
        let mounts = facts.text("/proc/self/mounts").unwrap_or_default();
        let controllers =
            |root: &Path| facts.text(&root.join("cgroup.controllers").to_string_lossy()).unwrap_or_default();
        match Self::from_mounts(&mounts, controllers) {
            Ok(Self { kind: Kind::Unified, .. }) => Ok("unified (v2)"),
            Ok(_) => Ok("hybrid: limits in v1 hierarchies, membership in the v2 tree"),
            Err(Error::HostLacks(NO_TREE)) => {
                let more = format!("own /nowhere cgroup2 rw 0 0\n{mounts}");
                Self::from_mounts(&more, |_| String::new())?;
                Ok("v1; the runtime mounts a v2 tree for membership, which nobody else sees")
            }
            Err(error) => Err(error),
        }
    }

    /// `controllers` reads `cgroup.controllers` of a v2 root.
    fn from_mounts(mounts: &str, controllers: impl Fn(&Path) -> String) -> Result<Self> {
        let rows =
            || mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).filter(|row| row.len() > 3);
        let unified = rows()
            .find(|row| row[2] == "cgroup2")
            .map(|row| PathBuf::from(row[1]))
            .ok_or(Error::HostLacks(NO_TREE))?;
        let available = controllers(&unified);
        let has = |name: &str| available.split_whitespace().any(|word| word == name);
        let huge = |tree| HugePages { tree, sizes: Vec::new() };
        let tree = has(HUGE_PAGES).then_some(Kind::Unified);
        if CONTROLLERS.iter().all(|name| has(name)) {
            return Ok(Self {
                unified,
                v1: Vec::new(),
                huge_pages: huge(tree),
                kind: Kind::Unified,
                _own: None,
            });
        }
        let hierarchy = |controller: &str| {
            let carries = |row: &Vec<&str>| row[3].split(',').any(|option| option == controller);
            rows().find(|row| row[2] == "cgroup" && carries(row)).map(|row| PathBuf::from(row[1]))
        };
        let mut v1 = Vec::new();
        for controller in CONTROLLERS {
            v1.push((controller, hierarchy(controller).ok_or(Error::HostLacks(NO_CONTROLLERS))?));
        }
        let mut huge_pages = huge(tree);
        if let (None, Some(path)) = (tree, hierarchy(HUGE_PAGES)) {
            v1.push((HUGE_PAGES, path));
            huge_pages.tree = Some(Kind::Hybrid);
        }
        // `cpu,cpuacct` and the like are one hierarchy: one directory in it, not two.
        v1.dedup_by(|a, b| a.1 == b.1);
        Ok(Self { unified, v1, huge_pages, kind: Kind::Hybrid, _own: None })
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Lets the children of `instance` have limits in the v2 tree: on the way down from the root every group must
    /// pass the controllers on. As long as the last one does, nobody can take them away further up.
    pub(super) fn enable_controllers(&self, parent: &CgroupParent, instance: BorrowedFd<'_>) -> Result<()> {
        let mut wanted = if self.kind == Kind::Unified { CONTROLLERS.to_vec() } else { Vec::new() };
        if self.huge_pages.tree == Some(Kind::Unified) {
            wanted.push(HUGE_PAGES);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let text: String = wanted.iter().map(|name| format!("+{name} ")).collect();
        let enable = |directory: BorrowedFd<'_>| {
            super::write(directory, "cgroup.subtree_control", text.as_bytes()).doing("enable controllers")
        };
        for path in parent.chain(&self.unified) {
            let directory = std::fs::File::open(&path)
                .during("open", || path.display().to_string())
                .doing("enable controllers")?;
            enable(directory.as_fd())?;
        }
        enable(instance)
    }
}

fn mount_tree(stand: Stand<'_>) -> Result<OwnedFd> {
    const DOING: &str = "mount a cgroup v2 tree";
    let attributes = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let made = filesystem::make(c"cgroup2", &[], attributes).doing(DOING)?;
    if let Stand::At(place) = stand {
        filesystem::stand(made.as_fd(), place).doing(DOING)?;
    }
    Ok(made)
}

/// From `hugepages-2048kB` to `2MB`.
fn huge_page_sizes() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten();
    let mut sizes: Vec<_> = entries.filter_map(|entry| huge_page_size(entry.file_name().to_str()?)).collect();
    sizes.sort();
    sizes
}

fn huge_page_size(directory: &str) -> Option<String> {
    let kib: u64 = directory.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kib {
        ..1024 => format!("{kib}KB"),
        1024..1_048_576 => format!("{}MB", kib >> 10),
        _ => format!("{}GB", kib >> 20),
    })
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
        assert_eq!(layout.huge_pages.tree, Some(Kind::Unified), "what v1 does not have is in v2");
        let v1 = format!("cgroup /sys/fs/cgroup/hugetlb cgroup rw,hugetlb 0 0\n{HYBRID}");
        let layout = Layout::from_mounts(&v1, |_| String::new()).unwrap();
        assert_eq!((layout.huge_pages.tree, layout.v1.len()), (Some(Kind::Hybrid), 4));
        assert_eq!(Layout::from_mounts(HYBRID, |_| String::new()).unwrap().huge_pages.tree, None);
    }

    #[test]
    fn sizes_of_huge_pages_are_those_of_the_files() {
        let of = |name| huge_page_size(name);
        assert_eq!(of("hugepages-2048kB").as_deref(), Some("2MB"));
        assert_eq!(of("hugepages-1048576kB").as_deref(), Some("1GB"));
        assert_eq!(of("hugepages-64kB").as_deref(), Some("64KB"));
        assert_eq!(of("power"), None);
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
