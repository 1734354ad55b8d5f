//! Commands that run on by themselves, and the last event of every stream.

use super::{End, Usage};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// A command was started.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Started {
    pub(crate) success: bool,
    /// Names the command within its sandbox, for ever. It is no process number of the system.
    pub(crate) pid: u64,
    /// As it was sent.
    pub(crate) command: String,
}

/// What runs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Commands {
    pub(crate) success: bool,
    pub(crate) processes: Vec<Process>,
}

/// One running command.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Process {
    pub(crate) pid: u64,
    /// The script, at most its first 4096 bytes.
    pub(crate) command: String,
    #[schema(format = "date-time")]
    pub(crate) start_time: String,
    /// Always true: what has ended is not listed.
    pub(crate) running: bool,
    /// Whether it has an input that requests can write to.
    pub(crate) stdin: bool,
    /// Offset behind the last byte of its output.
    pub(crate) offset: u64,
}

/// Which command.
#[derive(Debug, ToSchema)]
pub(crate) struct PidRequest {
    #[schema(minimum = 1)]
    pub(crate) pid: u64,
}

/// Which command, and where to begin.
#[derive(Debug, ToSchema)]
pub(crate) struct AttachRequest {
    #[schema(minimum = 1)]
    pub(crate) pid: u64,
    /// Offset of the first byte that is wanted; 0 where absent, before which `Last-Event-ID` is asked.
    pub(crate) from: Option<u64>,
}

/// Which signal.
#[derive(Debug, ToSchema)]
pub(crate) struct SignalRequest {
    /// A name with or without `SIG`, or a number from 1 to 31.
    #[schema(value_type = SignalName)]
    pub(crate) signal: u8,
}

/// A signal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum SignalName {
    Name(String),
    Number(u8),
}

/// Nothing of the command lives.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Killed {
    pub(crate) success: bool,
    pub(crate) message: &'static str,
    /// Processes that there were; 0 where the command had ended.
    pub(crate) killed: u32,
    /// How we know.
    #[schema(pattern = "^cgroup-empty$")]
    pub(crate) confirmed: &'static str,
}

/// The signal was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Signaled {
    pub(crate) success: bool,
    pub(crate) message: &'static str,
}

/// The input was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Taken {
    pub(crate) success: bool,
    /// Bytes that the command took: all, unless it closed its input.
    pub(crate) bytes: u64,
}

/// How a command ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Waited {
    /// False where the sandbox ended or its agent failed first.
    pub(crate) success: bool,
    #[serde(flatten)]
    pub(crate) exit: Exit,
}

/// Data of the event `exit`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Exit {
    /// The shell's word: 0-255 of an exit, 128+n of a signal, 124 of a timeout, 137 of a kill.
    pub(crate) exit_code: u8,
    /// For people, where the end is not the program's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) error: Option<Cow<'static, str>>,
    pub(crate) end: End,
    pub(crate) usage: Usage,
    /// Present and true when another process still held the output open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) output_open: Option<bool>,
}

/// One event of a stream of events.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct StreamEvent {
    #[schema(value_type = String, pattern = "^(stdout|stderr|gap|exit)$")]
    event: &'static str,
    /// Text as it is or base64, the range of a gap, or one line of JSON (schema `Exit`).
    data: String,
    /// The offset to resume from.
    id: Option<String>,
}
