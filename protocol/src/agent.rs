//! Gateway to agent: HTTP/1.1 over the sandbox's unix socket, one connection per stream.
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/hello` | [`Hello`] | 200 [`Hello`] with the same nonce |
//! | `POST /v1/executions` | [`ExecutionSpec`] | 200 and [frames](crate::frame): `Started`, output, `Ended`; or 422 [`StartFailure`] |
//!
//! An execution that was started this way is *attached*: it dies with the connection. The gateway believes
//! nothing that comes back: it parses, bounds and rebuilds.

use serde::{Deserialize, Serialize};

/// Version of this protocol; the gateway refuses an agent of another.
pub const AGENT_PROTOCOL: u32 = 1;
/// Path of [`Hello`].
pub const HELLO_PATH: &str = "/v1/hello";
/// Path of [`ExecutionSpec`].
pub const EXECUTIONS_PATH: &str = "/v1/executions";
/// Seconds between two keep-alive frames of a stream; the gateway gives up after three.
pub const KEEP_ALIVE_SECONDS: u64 = 10;
/// Largest JSON body in bytes, both ways.
pub const MAX_JSON: usize = 1 << 20;
/// Executions that one sandbox may have at once, of all kinds.
pub const MAX_EXECUTIONS: usize = 64;
/// Longest script in bytes (contract §4.1).
pub const MAX_SCRIPT: usize = 100_000;
/// The agent's first descriptor beside standard streams: its listening socket (`LISTEN_FDS` convention).
pub const LISTEN_FD: i32 = 3;
/// The agent's detached cgroup directory: `<sandbox>`, in which it makes one leaf per execution.
pub const CGROUP_FD: i32 = 4;
/// A file with an `oom_kill N` line that counts for the whole sandbox, read-only.
pub const OOM_FD: i32 = 5;
/// Environment variable that carries the launch number, from 1.
pub const LAUNCH_ENV: &str = "BULKHEAD_LAUNCH";
/// Environment variable that carries `RLIMIT_NOFILE` of commands.
pub const OPEN_FILES_ENV: &str = "BULKHEAD_OPEN_FILES";
/// Bits of an execution handle that count within one launch; the launch number stands above them.
pub const HANDLE_COUNTER_BITS: u32 = 20;

/// First exchange on a new sandbox: proves that the peer is an agent of this version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`AGENT_PROTOCOL`] of the sender.
    pub protocol: u32,
    /// Random; comes back as it was.
    pub nonce: String,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExecutionSpec {
    /// One shell script, run as `bash -c SCRIPT` (`/bin/sh` where there is no bash). No NUL.
    pub script: String,
    /// Variables on top of the agent's constant ones; later ones win. Names without `=` and NUL.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute or relative to `/root`; `None` is `/root`, or `/` where that is missing.
    pub cwd: Option<String>,
    /// When the whole tree is killed, counted from its start; `None` is never.
    pub timeout_ms: Option<u64>,
}

/// The execution runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Names the execution within its sandbox, for ever: launch number × 2^20 + counter.
    pub handle: u64,
}

/// Bytes that a reader came too late for. Offsets count the payload bytes of both streams together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// First missing byte.
    pub from: u64,
    /// First byte that is there again.
    pub to: u64,
}

/// The execution is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How it ended.
    pub end: End,
    /// What it used.
    pub usage: Usage,
    /// Another process still held the output open when the main one had ended; what it writes later is lost.
    pub output_open: bool,
}

/// How an execution ended. Never invented: it comes from `waitid(2)`, from our own kill, or from the kernel's
/// counter of out-of-memory kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum End {
    /// The main process called `exit`.
    Exited {
        /// Its status, 0 to 255.
        code: u8,
    },
    /// The main process was ended by a signal that was not ours.
    Signaled {
        /// The signal, 1 to 64.
        signal: u8,
    },
    /// The time was up; everything was killed.
    Timeout,
    /// The kernel killed it for want of memory.
    Oom,
    /// A client's request killed it.
    Killed,
}

/// What an execution used, descendants included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Cpu time, user and system, in milliseconds, where the host counts it.
    pub cpu_ms: Option<u64>,
    /// From the start to the end of the main process, in milliseconds.
    pub wall_ms: u64,
    /// Most memory at once, in bytes, where the host counts it per execution.
    pub peak_memory_bytes: Option<u64>,
}

/// The program never ran. Body of a 422.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartFailure {
    /// Why.
    pub kind: StartFailureKind,
    /// The system's error number, where there is one.
    pub errno: Option<i32>,
}

/// Why a program never ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFailureKind {
    /// The request breaks a rule of this module.
    Invalid,
    /// The working directory does not exist or is none.
    NoSuchDirectory,
    /// The working directory may not be entered.
    DirectoryDenied,
    /// There is no shell in the image, or it cannot be executed.
    NoShell,
    /// Script and environment together are longer than the kernel takes (`E2BIG`).
    TooLong,
    /// The sandbox is at its limit of processes.
    ProcessLimit,
    /// The sandbox is at its limit of memory.
    MemoryLimit,
    /// [`MAX_EXECUTIONS`] are running.
    ExecutionLimit,
    /// Anything else.
    Internal,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_an_end_are_those_of_the_contract() {
        let text = serde_json::to_string(&End::Exited { code: 3 }).unwrap();
        assert_eq!(text, r#"{"kind":"exited","code":3}"#);
        assert_eq!(serde_json::to_string(&End::Oom).unwrap(), r#"{"kind":"oom"}"#);
        assert!(serde_json::from_str::<End>(r#"{"kind":"exited","code":256}"#).is_err());
    }
}
