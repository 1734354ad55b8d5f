//! What a group uses, read from its files. A file that is not there, or says something else, is a `None`.

use super::{DIRECTORY, Group, directories, open, read};
use bulkhead_protocol::stats::{Cpu, Memory, Pids, Stats};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, BorrowedFd};

/// Nanoseconds, in which the v1 tree counts, of a microsecond.
const NANOS: u64 = 1000;

impl Group {
    /// What it uses; of its disk it knows nothing.
    pub(crate) fn usage(&self) -> Stats {
        let unified = Files(self.unified.as_fd());
        let memory = self.v1("memory");
        let pids = self.v1("pids").unwrap_or(Files(self.unified.as_fd()));
        Stats {
            memory: match memory {
                Some(v1) => Memory {
                    current: v1.number("memory.usage_in_bytes"),
                    peak: v1.number("memory.max_usage_in_bytes"),
                    limit: v1.number("memory.limit_in_bytes"),
                },
                None => Memory {
                    current: unified.number("memory.current"),
                    peak: unified.number("memory.peak"),
                    limit: unified.number("memory.max"),
                },
            },
            // The v2 tree counts time without a controller; it is the v1 tree that throttles where there is one.
            cpu: match self.v1("cpu") {
                Some(v1) => Cpu {
                    usage_us: unified.row("cpu.stat", "usage_usec"),
                    throttled_periods: v1.row("cpu.stat", "nr_throttled"),
                    throttled_us: v1.row("cpu.stat", "throttled_time").map(|nanos| nanos / NANOS),
                },
                None => Cpu {
                    usage_us: unified.row("cpu.stat", "usage_usec"),
                    throttled_periods: unified.row("cpu.stat", "nr_throttled"),
                    throttled_us: unified.row("cpu.stat", "throttled_usec"),
                },
            },
            pids: Pids { current: pids.number("pids.current"), limit: pids.number("pids.max") },
            oom_kills: match self.v1("memory") {
                Some(v1) => v1.row("memory.oom_control", "oom_kill"),
                None => unified.row("memory.events", "oom_kill"),
            },
            executions: self.live_leaves(),
            ..Stats::default()
        }
    }

    fn v1(&self, controller: &str) -> Option<Files<'_>> {
        let found = self.v1.iter().find(|(name, _)| *name == controller);
        found.map(|(_, directory)| Files(directory.as_fd()))
    }

    /// Leaves in which something lives. There are as many as `cgroup.max.descendants` lets an agent make.
    fn live_leaves(&self) -> Option<u64> {
        let leaves = directories(self.unified.as_fd()).ok()?;
        let lives = |name: &&String| {
            let leaf = openat(&self.unified, name.as_str(), DIRECTORY, Mode::empty());
            leaf.is_ok_and(|leaf| Files(leaf.as_fd()).row("cgroup.events", "populated") == Some(1))
        };
        u64::try_from(leaves.iter().filter(lives).count()).ok()
    }
}

/// The files of a directory.
#[derive(Debug, Clone, Copy)]
struct Files<'a>(BorrowedFd<'a>);

impl Files<'_> {
    fn text(self, name: &str) -> Option<String> {
        open(self.0, name, OFlag::O_RDONLY).and_then(read).ok()
    }

    /// A file that is one number.
    fn number(self, name: &str) -> Option<u64> {
        self.text(name)?.trim().parse().ok()
    }

    /// The number in the row `key` of a file of rows.
    fn row(self, name: &str, key: &str) -> Option<u64> {
        row(&self.text(name)?, key)
    }
}

fn row(text: &str, key: &str) -> Option<u64> {
    let mut rows = text.lines().filter_map(|line| line.split_once(' '));
    rows.find(|(name, _)| *name == key)?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::row;

    #[test]
    fn only_a_whole_key_with_a_number_counts() {
        let text = "usage_usec 12\nuser_usec 8\nnr_throttled max\n";
        assert_eq!(row(text, "usage_usec"), Some(12));
        assert_eq!(row(text, "usage"), None);
        assert_eq!(row(text, "nr_throttled"), None);
    }
}
