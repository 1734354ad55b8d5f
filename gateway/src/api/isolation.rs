//! The report of what is in force for a sandbox.

use bulkhead_protocol::isolation as wire;
use serde::Serialize;
use utoipa::ToSchema;

/// What is in force for a sandbox, as the runtime read it back from the kernel; nothing in the sandbox was asked.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Isolation {
    /// Whether every wall holds.
    holds: bool,
    /// Each kind once.
    walls: Vec<Wall>,
    /// Security modules in force on the host, for information; empty where the kernel does not tell.
    security_modules: Vec<String>,
}

/// One kind of wall.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Wall {
    #[schema(inline)]
    wall: WallKind,
    /// Whether every item holds; a wall without items does not.
    holds: bool,
    items: Vec<Item>,
}

/// Which wall.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum WallKind {
    Namespaces,
    Ids,
    Privileges,
    Filter,
    ProcessLimits,
    GroupLimits,
    Disk,
    Mounts,
    Masks,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Item {
    #[schema(max_length = 48)]
    name: String,
    /// What must be.
    #[schema(max_length = 80)]
    wanted: String,
    /// What is; `null` when it could not be read, and then it does not hold.
    #[schema(max_length = 80, required)]
    found: Option<String>,
    holds: bool,
}

impl From<&wire::Isolation> for Isolation {
    fn from(report: &wire::Isolation) -> Self {
        let wall = |kind: wire::WallKind| Wall {
            wall: kind.into(),
            holds: report.holds(kind),
            items: report.items.iter().filter(|item| item.wall == kind).map(Item::from).collect(),
        };
        let modules = report.modules.iter().take(wire::MAX_MODULES);
        Self {
            holds: report.all_hold(),
            walls: wire::WallKind::ALL.into_iter().map(wall).collect(),
            security_modules: modules.map(|name| cut(name, wire::MAX_NAME)).collect(),
        }
    }
}

impl From<&wire::Item> for Item {
    fn from(item: &wire::Item) -> Self {
        Self {
            name: cut(&item.name, wire::MAX_NAME),
            wanted: cut(&item.wanted, wire::MAX_VALUE),
            found: item.found.as_deref().map(|text| cut(text, wire::MAX_VALUE)),
            holds: item.holds(),
        }
    }
}

impl From<wire::WallKind> for WallKind {
    fn from(kind: wire::WallKind) -> Self {
        match kind {
            wire::WallKind::Namespaces => Self::Namespaces,
            wire::WallKind::Ids => Self::Ids,
            wire::WallKind::Privileges => Self::Privileges,
            wire::WallKind::Filter => Self::Filter,
            wire::WallKind::ProcessLimits => Self::ProcessLimits,
            wire::WallKind::GroupLimits => Self::GroupLimits,
            wire::WallKind::Disk => Self::Disk,
            wire::WallKind::Mounts => Self::Mounts,
            wire::WallKind::Masks => Self::Masks,
        }
    }
}

/// The runtime keeps to its bounds; what a client gets does not depend on that.
fn cut(text: &str, most: usize) -> String {
    text.chars().filter(|c| c.is_ascii() && !c.is_ascii_control()).take(most).collect()
}
