//! Who on the host runs as an id of our ranges: one pass over `/proc`.

use crate::ids::Slot;
use std::collections::HashSet;
use std::fs;

/// A process with an id of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inhabitant {
    pub(crate) pid: i32,
    pub(crate) slot: Slot,
}

/// Every such process, the dead that nobody reaped included. One that ends meanwhile may be missing.
pub(crate) fn inhabitants() -> Vec<Inhabitant> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        Some(Inhabitant { pid, slot: slot_of(&status)? })
    })
    .collect()
}

/// The ranges that anybody lives in.
pub(crate) fn slots() -> HashSet<Slot> {
    inhabitants().iter().map(|found| found.slot).collect()
}

/// The range of any of the four user ids.
fn slot_of(status: &str) -> Option<Slot> {
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_whitespace().filter_map(|id| id.parse().ok()).find_map(Slot::of_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_the_four_ids_counts() {
        let base = Slot(7).range().base;
        for (ids, slot) in [
            (format!("{base}\t{base}\t0\t0"), Some(Slot(7))),
            (format!("0\t0\t{}\t0", base + 65_535), Some(Slot(7))),
            (format!("{0}\t{0}\t{0}\t{0}", Slot(0).range().base), None),
            ("0\t1000\t65534\t0".to_owned(), None),
        ] {
            assert_eq!(slot_of(&format!("Name:\tx\nUid:\t{ids}\nGid:\t0\n")), slot, "{ids}");
        }
        assert_eq!(slot_of(""), None);
    }
}
