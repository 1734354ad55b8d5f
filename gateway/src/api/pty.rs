//! Terminals: requests and answers.

use serde::Serialize;
use utoipa::ToSchema;

/// What terminal to make.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used; the fields are read one by one")]
pub(crate) struct PtyRequest {
    #[schema(minimum = 1, maximum = 500, default = 80)]
    pub(crate) cols: Option<u16>,
    #[schema(minimum = 1, maximum = 200, default = 24)]
    pub(crate) rows: Option<u16>,
    /// `name` or `uid`, with an optional `:group` or `:gid`; root where absent.
    #[schema(max_length = 255)]
    pub(crate) user: Option<String>,
}

/// Another size.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used; the fields are read one by one")]
pub(crate) struct SizeRequest {
    #[schema(minimum = 1, maximum = 500)]
    pub(crate) cols: u16,
    #[schema(minimum = 1, maximum = 200)]
    pub(crate) rows: u16,
}

/// What to type.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only its schema is used; the fields are read one by one")]
pub(crate) struct TypeRequest {
    /// A line; its end is added where it is missing.
    #[schema(min_length = 1, max_length = 65536)]
    pub(crate) command: String,
}

/// A session that runs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PtyCreated {
    pub(crate) session_id: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
}

/// The sessions that live.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PtySessions {
    pub(crate) sessions: Vec<PtySession>,
}

/// One session.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PtySession {
    pub(crate) id: String,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub(crate) created_at: String,
    /// Clients that are attached now.
    pub(crate) clients: u32,
    /// Always true: a session that has ended is not listed.
    pub(crate) alive: bool,
}

/// What a session has written, as far as it is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PtyBuffer {
    pub(crate) output: String,
}
