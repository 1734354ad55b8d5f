//! What is in force for one sandbox, item by item, as the runtime read it back from the kernel.
//!
//! An item holds when what was found is what must be. What could not be read was not found, and does not hold; a
//! wall of which nothing is said does not hold either.

use serde::{Deserialize, Serialize};

/// Most items of one report: about 130 on today's kernels.
pub const MAX_ITEMS: usize = 200;
/// Longest name of an item in bytes.
pub const MAX_NAME: usize = 48;
/// Longest value of an item in bytes.
pub const MAX_VALUE: usize = 80;
/// Most security modules; Linux has fourteen.
pub const MAX_MODULES: usize = 24;

/// One kind of wall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WallKind {
    /// Namespaces are not the host's.
    Namespaces,
    /// Ids are of the sandbox's own range.
    Ids,
    /// Capabilities of the agent, and the most that a command can have.
    Privileges,
    /// The filter over system calls.
    Filter,
    /// Limits of single processes.
    ProcessLimits,
    /// Limits of all processes together.
    GroupLimits,
    /// The limit of the disk.
    Disk,
    /// File systems and how they are mounted.
    Mounts,
    /// Parts of `/proc` that are covered.
    Masks,
}

impl WallKind {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Namespaces,
        Self::Ids,
        Self::Privileges,
        Self::Filter,
        Self::ProcessLimits,
        Self::GroupLimits,
        Self::Disk,
        Self::Mounts,
        Self::Masks,
    ];
}

/// Whether something is as it must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Holds,
    /// It is not, or nobody knows.
    Fails,
}

impl From<bool> for Verdict {
    fn from(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Which wall it belongs to.
    pub wall: WallKind,
    /// What, within its wall; printable ASCII of at most [`MAX_NAME`] bytes.
    pub name: String,
    /// What must be, printable ASCII of at most [`MAX_VALUE`] bytes.
    pub wanted: String,
    /// What is, of the same form; `None` when it could not be read.
    pub found: Option<String>,
    /// The comparison.
    pub verdict: Verdict,
}

impl Item {
    /// An item that holds when `holds` says so *and* something was found. Texts are made to fit.
    #[must_use]
    pub fn new(
        wall: WallKind,
        name: &str,
        wanted: &str,
        found: Option<String>,
        holds: impl FnOnce(&str) -> bool,
    ) -> Self {
        let verdict = found.as_deref().is_some_and(holds).into();
        Self {
            wall,
            name: fit(name, MAX_NAME),
            wanted: fit(wanted, MAX_VALUE),
            found: found.map(|text| fit(&text, MAX_VALUE)),
            verdict,
        }
    }

    /// Whether it holds. What was not found does not, whatever the verdict says.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.verdict == Verdict::Holds && self.found.is_some()
    }

    /// An item that holds when exactly `wanted` was found.
    #[must_use]
    pub fn equal(wall: WallKind, name: &str, wanted: &str, found: Option<String>) -> Self {
        Self::new(wall, name, wanted, found, |text| text == wanted)
    }
}

/// A report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    /// [`MAX_ITEMS`] at most.
    pub items: Vec<Item>,
    /// Security modules of the host's kernel, for information; [`MAX_MODULES`] at most.
    pub modules: Vec<String>,
}

impl Isolation {
    /// Whether a wall stands: every item of it holds, and there is one.
    #[must_use]
    pub fn holds(&self, wall: WallKind) -> bool {
        let mut items = self.items.iter().filter(|item| item.wall == wall).peekable();
        items.peek().is_some() && items.all(Item::holds)
    }

    /// Whether every wall stands.
    #[must_use]
    pub fn all_hold(&self) -> bool {
        WallKind::ALL.into_iter().all(|wall| self.holds(wall))
    }
}

/// Printable ASCII without the two characters that JSON escapes, cut to a length.
fn fit(text: &str, most: usize) -> String {
    let plain = |c: char| if (c.is_ascii_graphic() && c != '"' && c != '\\') || c == ' ' { c } else { '?' };
    text.chars().map(plain).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{MAX_PACKET, Message, Reply};

    fn full(verdict: Verdict) -> Isolation {
        let long = "\"\n\\é".repeat(100);
        let item = Item {
            verdict,
            ..Item::new(WallKind::ProcessLimits, &long, &long, Some(long.clone()), |_| false)
        };
        Isolation { items: vec![item; MAX_ITEMS], modules: vec!["m".repeat(MAX_NAME); MAX_MODULES] }
    }

    #[test]
    fn the_longest_report_fits_into_one_packet() {
        let message = Message::Reply { seq: u64::MAX, reply: Reply::Isolation(full(Verdict::Holds)) };
        let bytes = serde_json::to_vec(&message).unwrap().len();
        assert!(bytes < MAX_PACKET, "{bytes}");
    }

    #[test]
    fn what_was_not_found_and_what_is_not_said_does_not_hold() {
        let missing = Item::new(WallKind::Disk, "bytes", "1", None, |_| true);
        assert_eq!(missing.verdict, Verdict::Fails);
        let other = Item::equal(WallKind::Disk, "bytes", "1", Some("2".into()));
        assert_eq!(other.verdict, Verdict::Fails);
        let items: Vec<_> =
            WallKind::ALL.iter().map(|wall| Item::equal(*wall, "x", "1", Some("1".into()))).collect();
        let good = Isolation { items: items.clone(), modules: Vec::new() };
        assert!(good.all_hold());
        for left_out in 0..items.len() {
            let mut items = items.clone();
            items.remove(left_out);
            assert!(!Isolation { items, modules: Vec::new() }.all_hold());
        }
        assert!(!full(Verdict::Holds).all_hold() && !full(Verdict::Fails).holds(WallKind::ProcessLimits));
    }
}
