//! What the mount table of an agent tells: its file systems, and that everything that must be covered is.

use super::Readings;
use crate::dev;
use crate::error::Result;
use crate::masks::Masks;
use crate::record::Listed;
use crate::spec::mounts::{self, is_of_proc};
use crate::spec::{self, part};
use crate::view;
use bulkhead_protocol::isolation::{Item, WallKind};
use oci_spec::runtime::Spec;

/// What no spec lists: the root, and the nodes of `/dev`, which came with it.
const ROOT: (&str, &str, &[&str]) = ("/", "overlay", &["nosuid", "nodev"]);
const NULL: (&str, &str, &[&str]) = ("/dev/null", "", &["ro", "nosuid", "noexec"]);

/// One line of `mountinfo`, see proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount<'a> {
    id: &'a str,
    parent: &'a str,
    device: &'a str,
    root: &'a str,
    point: &'a str,
    options: &'a str,
    kind: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ');
        Some(Self {
            id: fields.next()?,
            parent: fields.next()?,
            device: fields.next()?,
            root: fields.next()?,
            point: fields.next()?,
            options: fields.next()?,
            kind: after.split(' ').next()?,
        })
    }

    fn has(&self, option: &str) -> bool {
        self.options.split(',').any(|word| word == option)
    }

    fn describe(&self) -> String {
        format!("{} {} {}", self.kind, self.root, self.options)
    }
}

/// A whole table; a line that is not understood makes it unreadable.
struct Table<'a>(Vec<Mount<'a>>);

impl<'a> Table<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        text.lines().map(Mount::parse).collect::<Option<Vec<_>>>().map(Self)
    }

    /// What a path of a mount point shows: the one of the mounts there that no other covers.
    fn top(&self, point: &str) -> Option<&Mount<'a>> {
        let at = || self.0.iter().filter(|mount| mount.point == point);
        at().find(|mount| !at().any(|other| other.parent == mount.id))
    }

    /// The mount over `point`, if that stands on what `on` shows and not on something that is covered itself.
    fn over(&self, on: &str, point: &str) -> Option<&Mount<'a>> {
        let below = self.top(on)?;
        let first = self.0.iter().find(|mount| mount.point == point && mount.parent == below.id)?;
        let top = self.top(point)?;
        // One mount, or more of ours stacked on it.
        let standing =
            top.id == first.id || self.0.iter().any(|mount| mount.id == top.parent && mount.point == point);
        standing.then_some(top)
    }
}

/// Where a release wrote no mounts down, those that came with the root are strange to this one and say nothing.
pub(super) fn items(spec: &Spec, listed: Listed, agent: &dyn Readings) -> Result<Vec<Item>> {
    let text = agent.text("mountinfo");
    let table = text.as_deref().and_then(Table::parse);
    let masks = Masks::of_paths(part(spec::linux(spec)?.masked_paths(), "linux.maskedPaths")?)?;
    let wanted = wanted(spec)?;
    let mut items: Vec<_> =
        wanted.iter().map(|(point, kind, options)| known(point, kind, options, table.as_ref())).collect();
    if listed == Listed::Mounts {
        items.push(strangers(&wanted, &masks, table.as_ref()));
    }
    items.extend(covers(&masks, table.as_ref()));
    Ok(items)
}

/// Mount points with their file system and the options that each must have; of several at one point the last, which
/// covers the others. Below `/proc` another comparison tells more, see [`covers`].
fn wanted(spec: &Spec) -> Result<Vec<(&str, &str, Vec<&str>)>> {
    let mut all: Vec<_> =
        [ROOT, NULL].into_iter().map(|(point, kind, options)| (point, kind, options.to_vec())).collect();
    for mount in part(spec.mounts(), "mounts")? {
        let point = mount.destination().to_str().unwrap_or_default();
        if is_of_proc(mount) && point != "/proc" {
            continue;
        }
        all.retain(|(other, ..)| *other != point);
        // One of the host's directories has the host's file system, whatever that is.
        let kind = mount.typ().as_deref().filter(|kind| *kind != mounts::ANY).unwrap_or_default();
        all.push((point, kind, mounts::attribute_words(mount)));
    }
    Ok(all)
}

fn known(point: &str, kind: &str, options: &[&str], table: Option<&Table<'_>>) -> Item {
    let found = table.and_then(|table| table.top(point));
    let holds = found.is_some_and(|mount| {
        (kind.is_empty() || mount.kind == kind) && options.iter().all(|option| mount.has(option))
    });
    let wanted = [&[kind][..], options].concat().join(" ");
    Item::new(WallKind::Mounts, point, wanted.trim(), found.map(Mount::describe), |_| holds)
}

/// Nothing may be mounted that nobody here knows of.
fn strangers(wanted: &[(&str, &str, Vec<&str>)], masks: &Masks, table: Option<&Table<'_>>) -> Item {
    let is_known = |point: &str| {
        let of_proc = point.strip_prefix("/proc/").is_some_and(|name| {
            name == "sys"
                || masks.files.contains(&name)
                || masks.directories.contains(&name)
                || view::OWN_OVER_PROC.contains(&name)
                || view::SHARED_OVER_PROC.contains(&name)
        });
        let node = point.strip_prefix("/dev/").is_some_and(dev::has);
        of_proc || node || wanted.iter().any(|(known, ..)| *known == point)
    };
    let first = |table: &Table<'_>| {
        let found = table.0.iter().find(|mount| !is_known(mount.point));
        found.map_or_else(|| "none".to_owned(), |mount| mount.point.to_owned())
    };
    Item::equal(WallKind::Mounts, "unknown", "none", table.map(first))
}

/// Every part of `/proc` that tells of the host is covered, by what covers it at a launch.
fn covers(masks: &Masks, table: Option<&Table<'_>>) -> Vec<Item> {
    let item = |name: &str, wanted: &str, holds: &dyn Fn(&Table<'_>, &Mount<'_>) -> bool| {
        let point = format!("/proc/{name}");
        let found = table.and_then(|table| Some((table, table.over("/proc", &point)?)));
        let holds = found.is_some_and(|(table, mount)| holds(table, mount));
        Item::new(WallKind::Masks, &point, wanted, found.map(|(_, mount)| mount.describe()), |_| holds)
    };
    let same = |table: &Table<'_>, of: &str, mount: &Mount<'_>, root: &str| {
        table.top(of).is_some_and(|known| known.device == mount.device) && mount.root == root
    };
    let mut items = vec![item("sys", "proc /sys ro", &|table, mount| {
        mount.kind == "proc" && mount.has("ro") && same(table, "/proc", mount, "/sys")
    })];
    for name in &masks.files {
        items.push(item(name, "/dev/null", &|table, mount| {
            table.top("/dev/null").is_some_and(|null| null.device == mount.device && null.root == mount.root)
                && mount.root.ends_with("null")
                && mount.has("ro")
        }));
    }
    for name in &masks.directories {
        items.push(item(name, "an empty directory, ro", &|table, mount| {
            same(table, "/sys", mount, "/host/empty") && mount.has("ro")
        }));
    }
    for name in view::OWN_OVER_PROC {
        let root = format!("/{name}");
        items
            .push(item(name, "the sandbox's own", &|table, mount| same(table, "/sys/sandbox", mount, &root)));
    }
    for name in view::SHARED_OVER_PROC {
        let root = format!("/host/{name}");
        items.push(item(name, "the same for all", &|table, mount| same(table, "/sys", mount, &root)));
    }
    items
}
