//! Why an import ends without an image.

use bulkhead_protocol::image::ImageExcess;
use bulkhead_sys::error::Context;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

/// Longest text of a refusal in characters.
const MAX_TEXT: usize = 500;

/// Why an import ends without an image.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The source breaks a rule; the text is for the person who gave it.
    #[error("refused: {0}")]
    Refused(String),
    /// The disk of the store is full, or nearly so.
    #[error("no room on the disk of the store")]
    NoRoom,
    /// Its owner would have more than it may.
    #[error("the owner would have more than it may: {0:?}")]
    OverQuota(ImageExcess),
    /// A step of ours.
    #[error(transparent)]
    System(#[from] bulkhead_sys::Error),
    /// A step that another process took; what it said of it.
    #[error("{0}")]
    Other(String),
}

/// Result of an import.
pub type Outcome<T = ()> = std::result::Result<T, Failure>;

/// A [`Failure`] as one process of an import tells the next, and the last one the runtime.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Told {
    Refused(String),
    NoRoom,
    OverQuota(ImageExcess),
    Failed(String),
}

impl Failure {
    pub(crate) fn told(&self) -> Told {
        match self {
            Self::Refused(text) => Told::Refused(plain(text)),
            Self::NoRoom => Told::NoRoom,
            Self::OverQuota(excess) => Told::OverQuota(*excess),
            Self::System(error) => Told::Failed(plain(&format!("{error}: {}", error.errno))),
            Self::Other(text) => Told::Failed(plain(text)),
        }
    }
}

impl From<Told> for Failure {
    /// Who tells may have been taken over by what it read: its text is made plain again.
    fn from(told: Told) -> Self {
        match told {
            Told::Refused(text) => Self::Refused(plain(&text)),
            Told::NoRoom => Self::NoRoom,
            Told::OverQuota(excess) => Self::OverQuota(excess),
            Told::Failed(text) => Self::Other(plain(&text)),
        }
    }
}

/// One line of bounded length.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(MAX_TEXT).collect()
}

pub(crate) fn refused<T>(text: impl Into<String>) -> Outcome<T> {
    Err(Failure::Refused(text.into()))
}

/// A name that a stranger chose, for a sentence.
pub(crate) fn quoted(name: &[u8]) -> String {
    const MOST: usize = 120;
    format!("'{}'", name[..name.len().min(MOST)].escape_ascii())
}

/// Adds what a call was about, and tells a full disk from the rest.
pub(crate) trait Step<T> {
    fn step(self, call: &'static str, on: &[u8]) -> Outcome<T>;
}

impl<T> Step<T> for nix::Result<T> {
    fn step(self, call: &'static str, on: &[u8]) -> Outcome<T> {
        match self {
            Err(Errno::ENOSPC | Errno::EDQUOT) => Err(Failure::NoRoom),
            other => Ok(other.during(call, || quoted(on))?),
        }
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, call: &'static str, on: &[u8]) -> Outcome<T> {
        self.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32)))
            .step(call, on)
    }
}
