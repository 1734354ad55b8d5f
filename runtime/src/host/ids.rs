//! Whether anybody else on the host gives away the ids of sandboxes.

use crate::ids::{FIRST_ID, RANGE, RANGES};
use bulkhead_sys::host::{Facts, Finding};

/// First and last id that systemd gives to containers (systemd's UIDS-GIDS).
const CONTAINERS: (u64, u64) = (524_288, 1_879_048_191);
/// First and last of ours.
const OURS: (u64, u64) = (FIRST_ID as u64, FIRST_ID as u64 + RANGE as u64 * RANGES as u64 - 1);
/// First and last id that a row of a file gives away.
type Taken = fn(&str) -> Option<(u64, u64)>;
const FILES: [(&str, Taken); 4] = [
    ("/etc/subuid", of_range),
    ("/etc/subgid", of_range),
    ("/etc/passwd", of_account),
    ("/etc/group", of_account),
];

const _: () = assert!(OURS.0 > CONTAINERS.1, "systemd gives ids of ours to containers");

pub(super) fn walls(facts: &dyn Facts) -> Vec<Finding> {
    let mut findings: Vec<_> = FILES.iter().filter_map(|(path, taken)| clash(facts, path, *taken)).collect();
    if findings.is_empty() {
        let (first, last) = OURS;
        findings.push(Finding::fine("ids", format!("{first} to {last} belong to nobody else")));
    }
    findings
}

/// `name:first:count`.
fn of_range(row: &str) -> Option<(u64, u64)> {
    let mut fields = row.trim().split(':').skip(1).map(str::parse::<u64>);
    let (first, count) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some((first, first.checked_add(count.checked_sub(1)?)?))
}

/// An account or a group, whose id is the third field.
fn of_account(row: &str) -> Option<(u64, u64)> {
    let id = row.split(':').nth(2)?.parse().ok()?;
    Some((id, id))
}

fn clash(facts: &dyn Facts, path: &str, taken: Taken) -> Option<Finding> {
    let text = facts.text(path)?;
    let overlaps = |row: &&str| taken(row).is_some_and(|(first, last)| first <= OURS.1 && last >= OURS.0);
    let row = text.lines().find(overlaps)?;
    let name = row.split(':').next().unwrap_or_default();
    let (first, last) = OURS;
    let remedy = format!("give {name} ids below {first} in {path}");
    Some(Finding::missing("ids", format!("{path} gives ids between {first} and {last} to {name}"), remedy))
}
