//! What an organisation may have at once, and what it has. Everything is taken before its effect and given back when
//! what took it is dropped, so that no counter can be forgotten and no race lets two through where one may.
//!
//! Counters live in memory: sandboxes are counted again at a start, the rest ends with the process. Processors and
//! memory count while a sandbox runs or is frozen; one that is asleep or dead has its place and nothing else.

mod account;
mod bucket;
mod hold;

pub(crate) use account::{Account, Accounts, Over};
pub(crate) use hold::{Held, Kind, SandboxHold, Share};

use crate::limits;
use serde::{Deserialize, Serialize};

/// Ceilings of an organisation; what is absent has none but the host's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Quota {
    /// Sandboxes, in whatever state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sandboxes: Option<u64>,
    /// Thousandths of processors of all sandboxes that run or are frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u64>,
    /// MiB of memory of the same.
    #[serde(rename = "memoryMiB", skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Names of its own images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// MiB of the files of those; what two images share counts for both.
    #[serde(rename = "imageMiB", skip_serializing_if = "Option::is_none")]
    pub image_mib: Option<u64>,
    /// Executions that a connection to the server holds. Detached ones are bounded by their sandbox, 64 each, and so by
    /// the ceiling of sandboxes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executions: Option<u64>,
    /// Streams of events, WebSockets and waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u64>,
    /// Bytes sent per second, over all connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Requests per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_second: Option<u64>,
}

impl Quota {
    /// Only what the host has.
    pub(crate) const UNLIMITED: Self = Self {
        sandboxes: None,
        cpu_millis: None,
        memory_mib: None,
        images: None,
        image_mib: None,
        executions: None,
        streams: None,
        bytes_per_second: None,
        requests_per_second: None,
    };

    /// What an organisation has of whom nothing else was said, neither for it nor for all.
    pub const USUAL: Self = Self {
        sandboxes: Some(limits::ORG_SANDBOXES),
        cpu_millis: Some(limits::ORG_CPU_MILLIS),
        memory_mib: Some(limits::ORG_MEMORY_MIB),
        images: Some(limits::ORG_IMAGES),
        image_mib: Some(limits::ORG_IMAGE_MIB),
        executions: Some(limits::ORG_EXECUTIONS),
        streams: Some(limits::ORG_STREAMS),
        bytes_per_second: Some(limits::ORG_BYTES),
        requests_per_second: Some(limits::ORG_REQUESTS),
    };
}
