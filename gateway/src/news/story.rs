//! What is told, and its form: `event:` `data:` `id:` and a blank line, as in every stream of events of the API.

use crate::api::{GapNotice, NewsItem, instant};
use crate::auth::Scope;
use crate::store::now_us;

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Story<'a> {
    /// Something has become of a sandbox.
    Sandbox { id: &'a str, what: &'static str },
    /// An execution that a connection held has ended; `end` is a word of the contract, or `left` or `failed`.
    Execution { sandbox: &'a str, end: &'static str },
    /// Something has become of an image of the organisation's own.
    Image { name: &'a str, what: &'static str },
    /// Something has become of a key.
    Key { id: &'a str, what: &'static str },
}

impl Story<'_> {
    /// What lets a key look at the thing itself.
    pub(super) fn scope(&self) -> Scope {
        match self {
            Self::Sandbox { .. } | Self::Execution { .. } => Scope::SandboxesRead,
            Self::Image { .. } => Scope::ImagesRead,
            Self::Key { .. } => Scope::Keys,
        }
    }

    /// The event's text; `offset` is the one behind it, from which a reader resumes.
    pub(super) fn event(&self, offset: u64) -> String {
        let at = instant(now_us());
        let item = NewsItem { at, sandbox_id: None, end: None, image: None, key_id: None };
        let (name, item) = match *self {
            Self::Sandbox { id, what } => (what, NewsItem { sandbox_id: Some(id), ..item }),
            Self::Execution { sandbox, end } => {
                ("execution.ended", NewsItem { sandbox_id: Some(sandbox), end: Some(end), ..item })
            }
            Self::Image { name, what } => (what, NewsItem { image: Some(name), ..item }),
            Self::Key { id, what } => (what, NewsItem { key_id: Some(id), ..item }),
        };
        written(name, &item, offset)
    }
}

/// Says that what lay between two offsets is not there any more.
pub(super) fn gap(from: u64, to: u64) -> String {
    written("gap", &GapNotice { from, to }, to)
}

fn written(name: &str, data: &impl serde::Serialize, offset: u64) -> String {
    // Of numbers and texts alone.
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event:{name}\ndata:{data}\nid:{offset}\n\n")
}
