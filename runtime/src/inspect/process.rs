//! What `/proc/PID` of an agent tells of namespaces, ids, capabilities, filters and limits.

use super::{Readings, Seen, Wanted};
use crate::ids::AGENT_ID;
use crate::record::Record;
use crate::rlimits::ProcessLimit;
use bulkhead_protocol::isolation::{Item, WallKind};
use bulkhead_sys::caps;

/// Kinds of namespaces that a sandbox has of its own.
const KINDS: [&str; 7] = ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"];
/// Least `oom_score_adj` of an agent: it goes before the host's own daemons.
const OOM_SCORE: i32 = 300;

/// The inode in `kind:[4026531836]`.
fn inode(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

pub(super) fn namespaces(seen: &Seen<'_>) -> Vec<Item> {
    let of = |readings: &dyn Readings, kind: &str| inode(&readings.link(&format!("ns/{kind}"))?);
    let differs = |name: &str, entry: &str, others: Vec<Option<u64>>| {
        let found = of(seen.agent, entry);
        let own = others.iter().all(|other| other.is_some() && *other != found);
        let text = found.map(|inode| inode.to_string());
        Item::new(WallKind::Namespaces, name, "not the host's", text, |_| own)
    };
    let hosts = |kind: &str| seen.host.iter().map(|host| of(*host, kind)).collect::<Vec<_>>();
    let mut items: Vec<_> = KINDS.iter().map(|kind| differs(kind, kind, hosts(kind))).collect();
    // Commands live in the namespace that the agent made for its children, not in its own.
    let mut others = hosts("pid");
    others.push(of(seen.agent, "pid"));
    items.push(differs("pid of commands", "pid_for_children", others));
    // A kernel without time namespaces shows the host's uptime; there is nothing to compare.
    if seen.host[0].link("ns/time").is_some() {
        items.push(differs("time", "time", hosts("time")));
    }
    let host_user = of(seen.host[0], "user");
    let owner = seen.network_owner.map(|owner| if Some(owner) == host_user { "host" } else { "sandbox" });
    items.push(Item::equal(WallKind::Namespaces, "owner of net", "host", owner.map(str::to_owned)));
    items
}

pub(super) fn ids(record: &Record, agent: &dyn Readings) -> Vec<Item> {
    let range = record.slot.range();
    let map = format!("0 {} {}", range.base, range.count);
    let agent_id = [range.base + AGENT_ID; 4].map(|id| id.to_string()).join(" ");
    let status = Status::of(agent);
    let item = |name, wanted: &str, found| Item::equal(WallKind::Ids, name, wanted, found);
    vec![
        item("uid map", &map, agent.text("uid_map").map(|text| words(&text))),
        item("gid map", &map, agent.text("gid_map").map(|text| words(&text))),
        item("uid of the agent", &agent_id, status.row("Uid")),
        item("gid of the agent", &agent_id, status.row("Gid")),
        item("groups of the agent", "", status.row("Groups")),
    ]
}

pub(super) fn privileges(agent: &dyn Readings) -> Vec<Item> {
    let status = Status::of(agent);
    let exactly = |name, row, set: u64| {
        Item::equal(WallKind::Privileges, name, &format!("{set:016x}"), status.row(row))
    };
    let most = format!("{:016x} at most", caps::AGENT);
    let within = |text: &str| u64::from_str_radix(text, 16).is_ok_and(|set| set & !caps::AGENT == 0);
    let score = |text: &str| text.parse::<i32>().is_ok_and(|score| score >= OOM_SCORE);
    vec![
        exactly("permitted", "CapPrm", caps::AGENT),
        Item::new(WallKind::Privileges, "effective", &most, status.row("CapEff"), within),
        exactly("inheritable", "CapInh", 0),
        exactly("ambient", "CapAmb", 0),
        // What no command can go beyond, whoever starts it.
        exactly("bounding, of commands", "CapBnd", caps::TENANT),
        Item::equal(WallKind::Privileges, "no new privileges", "1", status.row("NoNewPrivs")),
        Item::new(
            WallKind::Privileges,
            "oom score",
            &format!("{OOM_SCORE} at least"),
            agent.text("oom_score_adj").map(|text| words(&text)),
            score,
        ),
    ]
}

/// The kernel says that a filter is in force and how many there are; which, the record of the launch.
pub(super) fn filter(wanted: &Wanted<'_>, agent: &dyn Readings) -> Vec<Item> {
    let status = Status::of(agent);
    let recorded = &wanted.record.filters;
    let written = |digest: &str| (!digest.is_empty()).then(|| digest.to_owned());
    let item = |name, wanted: &str, found| Item::equal(WallKind::Filter, name, wanted, found);
    vec![
        item("mode", "2", status.row("Seccomp")),
        item("filters of the agent", "1", status.row("Seccomp_filters")),
        item("sha256 for the agent", &wanted.filters.agent, written(&recorded.agent)),
        item("sha256 for commands", &wanted.filters.command, written(&recorded.command)),
    ]
}

pub(super) fn limits(wanted: &[ProcessLimit], agent: &dyn Readings) -> Vec<Item> {
    let table = agent.text("limits");
    let row = |name: &str| {
        let rest = table.as_deref()?.lines().find_map(|line| line.strip_prefix(name))?;
        Some(rest.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    };
    let item =
        |limit: &ProcessLimit| Item::equal(WallKind::ProcessLimits, limit.row, &limit.text(), row(limit.row));
    wanted.iter().map(item).collect()
}

/// `/proc/PID/status`.
struct Status(Option<String>);

impl Status {
    fn of(agent: &dyn Readings) -> Self {
        Self(agent.text("status"))
    }

    fn row(&self, name: &str) -> Option<String> {
        let rest = self.0.as_deref()?.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(words(rest))
    }
}

/// White space made single.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_is_the_number_in_brackets() {
        assert_eq!(inode("mnt:[4026531832]"), Some(4_026_531_832));
        assert_eq!(inode("/proc/1"), None);
    }
}
