//! What clients see: the JSON of answers and requests, and its OpenAPI. Field names and types are the
//! contract's; nothing else of the gateway is ever serialised to a client.

mod commands;
mod exec;
mod files;
mod images;
mod isolation;
mod news;
pub(crate) mod openapi;
mod pty;
pub(crate) mod refusals;
mod sandbox;
mod session;
mod stats;
mod tenants;

pub(crate) use commands::{
    AttachRequest, Commands, Exit, Killed, PidRequest, Process, SignalRequest, Signaled, Started,
    StreamEvent, Taken, Waited,
};
pub(crate) use exec::{End, ExecData, ExecRequest, ExecTail, OnDisconnect, Truncated, Usage};
pub(crate) use files::{
    CreateFileRequest, FileChange, FileEntry, FileList, FileStat, FileText, Octets, Uploaded, WatchRequest,
    WatchStarted, human,
};
pub(crate) use images::{ImageShown, image_id};
pub(crate) use isolation::Isolation;
pub(crate) use news::{GapNotice, NewsItem};
pub(crate) use pty::{PtyBuffer, PtyCreated, PtyRequest, PtySession, PtySessions, SizeRequest, TypeRequest};
pub(crate) use sandbox::{CreateRequest, LimitsRequest, PatchRequest, Port, Sandbox, instant, status};
pub(crate) use session::{SessionLine, SessionRequest, SessionResult, SessionStreamRequest};
pub(crate) use stats::Stats;

pub(crate) use tenants::{
    ActivateRequest, KeyGiven, KeyRequest, KeyShown, LeakShown, Leaks, Me, NewKeyShown, Nothing, OrgShown,
    PersonShown, RegisterRequest, Registered, UserShown,
};

use serde::Serialize;
use utoipa::ToSchema;

/// A success with data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Envelope<T> {
    /// Always `success`.
    pub(crate) status: &'static str,
    /// A word for people.
    pub(crate) message: &'static str,
    pub(crate) data: T,
}

impl<T> Envelope<T> {
    pub(crate) fn new(message: &'static str, data: T) -> Self {
        Self { status: "success", message, data }
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// Always `success`.
    pub(crate) status: &'static str,
    /// A word for people.
    pub(crate) message: &'static str,
    pub(crate) data: Vec<T>,
    pub(crate) meta: Meta,
}

/// Where a page stands in its list.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Meta {
    pub(crate) page: u64,
    pub(crate) limit: u64,
    pub(crate) total: u64,
    pub(crate) total_pages: u64,
}

/// A success without data.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Done {
    /// Always `success`.
    pub(crate) status: &'static str,
    /// A word for people.
    pub(crate) message: &'static str,
}

/// Every answer that is no success.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Refusal<'a> {
    /// What is wrong, for people; where a field is wrong it begins with its name.
    pub(crate) error: &'a str,
}

/// What serves.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Version {
    pub(crate) version: &'static str,
    pub(crate) commit: &'static str,
    pub(crate) build_time: &'static str,
    pub(crate) protocols: Protocols,
}

/// Which versions are spoken inside, for who upgrades: an agent outlives its gateway, a runtime is of the same release.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Protocols {
    /// With agents of this release.
    #[schema(minimum = 1)]
    pub(crate) agent: u32,
    /// With the oldest agents that are still spoken with.
    #[schema(minimum = 1)]
    pub(crate) oldest_agent: u32,
    /// With the runtime.
    #[schema(minimum = 1)]
    pub(crate) runtime: u32,
}

/// Everything works.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Healthy {
    /// Always `ok`.
    pub(crate) status: &'static str,
}
