//! What `/proc/PID` of an agent tells of namespaces, ids, capabilities, filters and limits.

use super::{Readings, Seen, Wanted};
use crate::error::{Error, Result};
use crate::rlimits::ProcessLimit;
use crate::spec::{self, part};
use bulkhead_protocol::isolation::{Item, WallKind};
use oci_spec::runtime::Spec;

/// The inode in `kind:[4026531836]`.
fn inode(link: &str) -> Option<u64> {
    link.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

pub(super) fn namespaces(spec: &Spec, seen: &Seen<'_>) -> Result<Vec<Item>> {
    let of = |readings: &dyn Readings, kind: &str| inode(&readings.link(&format!("ns/{kind}"))?);
    let differs = |name: &str, entry: &str, others: Vec<Option<u64>>| {
        let found = of(seen.agent, entry);
        let own = others.iter().all(|other| other.is_some() && *other != found);
        let text = found.map(|inode| inode.to_string());
        Item::new(WallKind::Namespaces, name, "not the host's", text, |_| own)
    };
    let hosts = |kind: &str| seen.host.iter().map(|host| of(*host, kind)).collect::<Vec<_>>();
    // A kernel without time namespaces shows the host's uptime; there is nothing to compare, and no spec asks for one.
    let kinds = spec::namespaces(spec)?;
    let mut items: Vec<_> = kinds
        .iter()
        .map(|kind| {
            let kind = kind.to_string();
            differs(&kind, &kind, hosts(&kind))
        })
        .collect();
    // Commands live in the namespace that the agent made for its children, not in its own.
    let mut others = hosts("pid");
    others.push(of(seen.agent, "pid"));
    items.push(differs("pid of commands", "pid_for_children", others));
    let host_user = of(seen.host[0], "user");
    let owner = seen.network_owner.map(|owner| if Some(owner) == host_user { "host" } else { "sandbox" });
    items.push(Item::equal(WallKind::Namespaces, "owner of net", "host", owner.map(str::to_owned)));
    Ok(items)
}

pub(super) fn ids(spec: &Spec, agent: &dyn Readings) -> Result<Vec<Item>> {
    let mapping = spec::id_mapping(spec)?;
    let map = format!("{} {} {}", mapping.container_id(), mapping.host_id(), mapping.size());
    let user = spec::process(spec)?.user();
    let outside = |id: u32| [mapping.host_id() + id; 4].map(|id| id.to_string()).join(" ");
    let status = Status::of(agent);
    let item = |name, wanted: &str, found| Item::equal(WallKind::Ids, name, wanted, found);
    Ok(vec![
        item("uid map", &map, agent.text("uid_map").map(|text| words(&text))),
        item("gid map", &map, agent.text("gid_map").map(|text| words(&text))),
        item("uid of the agent", &outside(user.uid()), status.row("Uid")),
        item("gid of the agent", &outside(user.gid()), status.row("Gid")),
        item("groups of the agent", "", status.row("Groups")),
    ])
}

pub(super) fn privileges(spec: &Spec, agent: &dyn Readings) -> Result<Vec<Item>> {
    let process = spec::process(spec)?;
    let sets = part(process.capabilities(), "process.capabilities")?;
    let permitted = spec::bits(part(sets.permitted(), "process.capabilities.permitted")?)?;
    let bounding = spec::bits(part(sets.bounding(), "process.capabilities.bounding")?)?;
    let least = process.oom_score_adj().ok_or(Error::Spec("process.oomScoreAdj"))?;
    let status = Status::of(agent);
    let exactly = |name, row, set: u64| {
        Item::equal(WallKind::Privileges, name, &format!("{set:016x}"), status.row(row))
    };
    let most = format!("{permitted:016x} at most");
    let within = |text: &str| u64::from_str_radix(text, 16).is_ok_and(|set| set & !permitted == 0);
    let score = |text: &str| text.parse::<i32>().is_ok_and(|score| score >= least);
    Ok(vec![
        exactly("permitted", "CapPrm", permitted),
        Item::new(WallKind::Privileges, "effective", &most, status.row("CapEff"), within),
        // What it was launched with, the agent gives up at once.
        exactly("inheritable", "CapInh", 0),
        exactly("ambient", "CapAmb", 0),
        // What no command can go beyond, whoever starts it.
        exactly("bounding, of commands", "CapBnd", bounding),
        Item::equal(WallKind::Privileges, "no new privileges", "1", status.row("NoNewPrivs")),
        Item::new(
            WallKind::Privileges,
            "oom score",
            &format!("{least} at least"),
            agent.text("oom_score_adj").map(|text| words(&text)),
            score,
        ),
    ])
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

pub(super) fn limits(spec: &Spec, agent: &dyn Readings) -> Result<Vec<Item>> {
    let table = agent.text("limits");
    let row = |name: &str| {
        let rest = table.as_deref()?.lines().find_map(|line| line.strip_prefix(name))?;
        Some(rest.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
    };
    let item =
        |limit: ProcessLimit| Item::equal(WallKind::ProcessLimits, limit.row, &limit.text(), row(limit.row));
    let wanted = part(spec::process(spec)?.rlimits(), "process.rlimits")?;
    wanted.iter().map(|limit| ProcessLimit::read(*limit).map(item)).collect()
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
