//! How an execution ended and what it used: from the kernel, never invented.

use super::leaf::{Leaf, read_at_start};
use bulkhead_protocol::agent::{End, Usage};
use bulkhead_sys::pidfd::Exit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// The sandbox's counter of out-of-memory kills.
#[derive(Debug)]
pub(crate) struct OomCounter(OwnedFd);

impl OomCounter {
    /// Over a file with an `oom_kill N` line.
    pub(crate) fn new(file: OwnedFd) -> Self {
        Self(file)
    }

    /// Its value; `None` when the host does not count.
    pub(crate) fn read(&self) -> Option<u64> {
        counter(&read_at_start(self.0.as_fd()).ok()?, "oom_kill")
    }
}

/// The end of a main process that we did not kill. The kernel counts an out-of-memory kill before it sends the
/// signal, so whoever sees the signal sees the count.
pub(crate) fn classify(exit: Exit, kills_before: Option<u64>, counter: &OomCounter) -> End {
    match exit {
        Exit::Code(code) => End::Exited { code },
        Exit::Signal(SIGKILL) if rose(kills_before, counter.read()) => End::Oom,
        Exit::Signal(signal) => End::Signaled { signal },
    }
}

/// The signal that nothing survives.
pub(crate) const SIGKILL: u8 = 9;
const _: () = assert!(SIGKILL as i32 == libc::SIGKILL);

fn rose(before: Option<u64>, after: Option<u64>) -> bool {
    matches!((before, after), (Some(before), Some(after)) if after > before)
}

/// What everything in the leaf has used so far.
pub(crate) fn usage(leaf: &Leaf, wall: Duration) -> Usage {
    let cpu = leaf.read("cpu.stat").and_then(|text| counter(&text, "usage_usec"));
    let peak = leaf.read("memory.peak").and_then(|text| text.trim().parse().ok());
    Usage {
        cpu_ms: cpu.map(|microseconds| microseconds / 1000),
        wall_ms: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
        peak_memory_bytes: peak,
    }
}

/// The number behind `name ` at the beginning of a line.
fn counter(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_its_whole_name() {
        let text = "low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(counter(text, "oom_kill"), Some(2));
        assert_eq!(counter(text, "oom_group"), None);
        assert_eq!(counter("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n", "oom_kill"), Some(7));
        assert_eq!(counter("usage_usec 1500\nuser_usec 1\n", "usage_usec"), Some(1500));
    }

    #[test]
    fn a_host_that_does_not_count_never_says_oom() {
        assert!(rose(Some(1), Some(2)));
        assert!(!rose(Some(2), Some(2)) && !rose(None, Some(2)) && !rose(Some(1), None));
    }
}
