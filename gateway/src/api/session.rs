//! Shell sessions: requests and answers.

use crate::agent_client::Source;
use serde::Serialize;
use utoipa::ToSchema;

/// What to do with a session.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used; the fields are read one by one")]
pub(crate) struct SessionRequest {
    #[schema(pattern = "^(create|exec|input|resize|close)$")]
    pub(crate) action: String,
    /// Its name, with all actions but `create` required.
    #[schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_.-]*$")]
    pub(crate) session_id: Option<String>,
    /// With `create`: a program that reads commands from its input; `bash` where absent.
    #[schema(max_length = 4095)]
    pub(crate) shell: Option<String>,
    /// With `exec`.
    #[schema(min_length = 1, max_length = 100_000)]
    pub(crate) command: Option<String>,
    /// With `exec`: seconds; then the session ends, since what runs in it cannot be told apart.
    #[schema(minimum = 1, maximum = 240, default = 30)]
    pub(crate) timeout: Option<u64>,
    /// With `input`: for the command that runs.
    #[schema(max_length = 65536)]
    pub(crate) input: Option<String>,
    /// With `create` and `resize`.
    #[schema(minimum = 1, maximum = 500)]
    pub(crate) cols: Option<u16>,
    /// With `create` and `resize`.
    #[schema(minimum = 1, maximum = 200)]
    pub(crate) rows: Option<u16>,
}

/// What to run in a session.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "only its schema is used; the fields are read one by one")]
pub(crate) struct SessionStreamRequest {
    #[schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_.-]*$")]
    pub(crate) session_id: String,
    #[schema(min_length = 1, max_length = 100_000)]
    pub(crate) command: String,
    /// Seconds; then the session ends.
    #[schema(minimum = 1, maximum = 240, default = 30)]
    pub(crate) timeout: Option<u64>,
}

/// What came of an action.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionResult {
    pub(crate) success: bool,
    pub(crate) session_id: String,
    /// Of both streams, as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) output: Option<String>,
    /// Why there was no success.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) exit_code: Option<u8>,
    /// Bytes of output that are not in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) truncated: Option<u64>,
}

/// One line of a stream.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionLine<'a> {
    #[schema(pattern = "^(stdout|stderr|exit|error)$")]
    pub(crate) r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) exit_code: Option<u8>,
}

impl<'a> SessionLine<'a> {
    pub(crate) fn output(source: Source, data: &'a str) -> Self {
        let r#type = match source {
            Source::Stdout => "stdout",
            Source::Stderr => "stderr",
        };
        Self { r#type, data: Some(data), exit_code: None }
    }

    pub(crate) fn exit(code: u8) -> Self {
        Self { r#type: "exit", data: None, exit_code: Some(code) }
    }

    pub(crate) fn error(message: &'a str) -> Self {
        Self { r#type: "error", data: Some(message), exit_code: None }
    }
}
