//! Running a command: request and answer.

use crate::input::Switch;
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What to run.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
pub(crate) struct ExecRequest {
    /// One shell script.
    #[schema(min_length = 1, max_length = 100_000)]
    pub(crate) command: String,
    /// Further words of the command; quoted for the shell.
    pub(crate) args: Option<Vec<String>>,
    /// Seconds. With exec and exec-stream 0, less and nothing are 30, more than 300 are 300. For what runs on
    /// by itself (commands/run, `background`, `onDisconnect: detach`) 0, less and nothing are no limit, more
    /// than 900 are 900.
    pub(crate) timeout: Option<i64>,
    /// On top of the sandbox's variables.
    pub(crate) env: Option<BTreeMap<String, String>>,
    /// Where to run it; `/root` where absent.
    #[schema(max_length = 4095)]
    pub(crate) cwd: Option<String>,
    /// Who runs it: `name` or `uid`, each with an optional `:group` or `:gid`; root where absent.
    #[schema(min_length = 1, max_length = 65)]
    pub(crate) user: Option<String>,
    /// Whether it has an input that requests can write to (exec-stream and commands/run).
    #[schema(value_type = Option<bool>)]
    pub(crate) stdin: Switch,
    /// exec: answer at once with a `pid`, and let the command run on.
    #[schema(value_type = Option<bool>)]
    pub(crate) background: Switch,
    /// exec-stream: what happens when the client goes away.
    #[schema(value_type = Option<String>, pattern = "^(kill|detach)$")]
    pub(crate) on_disconnect: OnDisconnect,
}

/// What happens to a streamed execution when its client goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDisconnect {
    Kill,
    Detach,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExecData {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    #[serde(flatten)]
    pub(crate) tail: ExecTail,
}

/// Everything but the output.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExecTail {
    /// The shell's word: 0-255 of an exit, 128+n of a signal, 124 of a timeout, 137 of a kill.
    pub(crate) exit_code: u8,
    pub(crate) end: End,
    pub(crate) usage: Usage,
    pub(crate) truncated: Truncated,
    /// Present and true when another process still held the output open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) output_open: Option<bool>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct End {
    #[schema(pattern = "^(exited|signaled|timeout|oom|killed|sleep|gone)$")]
    pub(crate) kind: &'static str,
    /// With `exited`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) code: Option<u8>,
    /// With `signaled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) signal: Option<u8>,
}

/// What it used; `null` where the host does not count it.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    #[schema(required)]
    pub(crate) cpu_ms: Option<u64>,
    pub(crate) wall_ms: u64,
    #[schema(required)]
    pub(crate) peak_memory_bytes: Option<u64>,
}

/// Bytes that were written and are not in the answer.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(crate) struct Truncated {
    pub(crate) stdout: u64,
    pub(crate) stderr: u64,
}
