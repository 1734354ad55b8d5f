//! What bears the name of an instance and belongs to no sandbox: said to whoever asks, never removed unasked.

use crate::census;
use crate::cgroup::Groups;
use crate::conn;
use crate::error::Result;
use crate::ids::{self, Slot};
use crate::instance::Instance;
use crate::record::Records;
use bulkhead_protocol::runtime::{LIST_PAGE, Leak, LeakKind, MAX_LEAK_NAME};
use std::collections::HashSet;
use std::path::Path;

/// Where the host's mount table is read: the runtime has one of its own.
const HOST_MOUNTS: &str = "/proc/1/mountinfo";

/// What is accounted for.
pub(crate) struct Known<'a> {
    pub(crate) instance: &'a Instance,
    pub(crate) groups: &'a Groups,
    pub(crate) records: &'a Records,
    /// Ids of all sandboxes.
    pub(crate) ids: HashSet<&'a str>,
    /// Ranges that sandboxes have.
    pub(crate) used: HashSet<Slot>,
    /// Ranges that are claimed for those to come.
    pub(crate) free: HashSet<Slot>,
}

/// The first [`LIST_PAGE`] of what is not.
///
/// # Errors
/// The first call that failed: half a list would say that all is well.
pub(crate) fn find(known: &Known<'_>) -> Result<Vec<Leak>> {
    let mut leaks = Vec::new();
    let mut add = |kind, names: Vec<String>| {
        leaks.extend(names.iter().map(|name| Leak { kind, name: printable(name) }));
    };
    add(LeakKind::Cgroup, strange(known.groups.list_sandboxes()?, known));
    add(LeakKind::Socket, strange(conn::agent_sockets(known.instance)?, known));
    add(LeakKind::Record, known.records.bad()?);
    let claimed: HashSet<Slot> = ids::claimed_by(&known.instance.name)?.into_iter().collect();
    let unknown = claimed.iter().filter(|slot| !known.used.contains(slot) && !known.free.contains(slot));
    add(LeakKind::Ids, unknown.map(|slot| slot.range().base.to_string()).collect());
    let strays = census::inhabitants()
        .into_iter()
        .filter(|found| claimed.contains(&found.slot) && !known.used.contains(&found.slot));
    add(
        LeakKind::Process,
        strays.map(|found| format!("{} of {}", found.pid, found.slot.range().base)).collect(),
    );
    add(LeakKind::Mount, mounts(&known.instance.run_dir));
    leaks.truncate(LIST_PAGE);
    Ok(leaks)
}

fn strange(mut names: Vec<String>, known: &Known<'_>) -> Vec<String> {
    names.retain(|name| !known.ids.contains(name.as_str()));
    names
}

/// Mounts of the host below the run directory: the volume of disks is the only one that should be.
fn mounts(run_dir: &Path) -> Vec<String> {
    let table = std::fs::read_to_string(HOST_MOUNTS).unwrap_or_default();
    strange_mounts(&table, run_dir)
}

fn strange_mounts(table: &str, run_dir: &Path) -> Vec<String> {
    let places = table.lines().filter_map(|line| line.split(' ').nth(4));
    let below = places.filter(|place| Path::new(place).starts_with(run_dir));
    below
        .filter(|place| Path::new(place) != run_dir && Path::new(place) != run_dir.join("store"))
        .map(str::to_owned)
        .collect()
}

/// A name as it may go into a log and an answer.
fn printable(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    name.chars().map(plain).take(MAX_LEAK_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_short() {
        assert_eq!(printable("a\nb\u{e9}c\u{1b}[2J d"), "a?b?c?[2J d");
        assert_eq!(printable(&"x".repeat(1000)).len(), MAX_LEAK_NAME);
    }

    #[test]
    fn the_volume_is_no_strange_mount() {
        let line = |place: &str| format!("36 25 0:32 / {place} rw - btrfs /dev/loop0 rw\n");
        let table: String = ["/", "/run", "/run/b", "/run/b/store", "/run/b/x", "/run/bc"].map(line).concat();
        assert_eq!(strange_mounts(&table, Path::new("/run/b")), ["/run/b/x"]);
    }
}
