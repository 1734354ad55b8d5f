//! What the mount table of an agent tells: its file systems, and that everything that must be covered is.

use super::Readings;
use crate::masks::Masks;
use crate::view;
use bulkhead_protocol::isolation::{Item, WallKind};

/// Mount points with their file system and the options that each must have.
const TABLE: [(&str, &str, &[&str]); 12] = [
    ("/", "overlay", &["nosuid", "nodev"]),
    ("/usr", "overlay", &["ro", "nosuid", "nodev"]),
    ("/dev", "tmpfs", &["ro", "nosuid", "noexec"]),
    ("/dev/null", "", &["ro", "nosuid", "noexec"]),
    ("/dev/pts", "devpts", &["nosuid", "noexec"]),
    ("/dev/shm", "tmpfs", &["nosuid", "nodev", "noexec"]),
    ("/dev/mqueue", "mqueue", &["nosuid", "nodev", "noexec"]),
    ("/tmp", "tmpfs", &["nosuid", "nodev"]),
    ("/proc", "proc", &["nosuid", "nodev", "noexec"]),
    ("/sys", "tmpfs", &["ro", "nosuid", "nodev", "noexec"]),
    ("/sys/sandbox", "tmpfs", &["nosuid", "nodev", "noexec"]),
    ("/sys/fs/cgroup", "tmpfs", &["ro", "nosuid", "nodev", "noexec"]),
];
/// Mount points beside those and the masks.
const OTHERS: [&str; 7] =
    ["/etc/hostname", "/etc/hosts", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"];

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

pub(super) fn items(masks: &Masks, agent: &dyn Readings) -> Vec<Item> {
    let text = agent.text("mountinfo");
    let table = text.as_deref().and_then(Table::parse);
    let mut items: Vec<_> = TABLE.iter().map(|row| known(row, table.as_ref())).collect();
    items.push(strangers(masks, table.as_ref()));
    items.extend(covers(masks, table.as_ref()));
    items
}

fn known((point, kind, options): &(&str, &str, &[&str]), table: Option<&Table<'_>>) -> Item {
    let found = table.and_then(|table| table.top(point));
    let holds = found.is_some_and(|mount| {
        (kind.is_empty() || mount.kind == *kind) && options.iter().all(|option| mount.has(option))
    });
    let wanted = [&[*kind][..], options].concat().join(" ");
    Item::new(WallKind::Mounts, point, wanted.trim(), found.map(Mount::describe), |_| holds)
}

/// Nothing may be mounted that nobody here knows of.
fn strangers(masks: &Masks, table: Option<&Table<'_>>) -> Item {
    let is_known = |point: &str| {
        let of_proc = point.strip_prefix("/proc/").is_some_and(|name| {
            name == "sys"
                || masks.files.contains(&name)
                || masks.directories.contains(&name)
                || view::OWN_OVER_PROC.contains(&name)
                || view::SHARED_OVER_PROC.contains(&name)
        });
        of_proc || OTHERS.contains(&point) || TABLE.iter().any(|(known, ..)| *known == point)
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
