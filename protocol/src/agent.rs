//! Gateway to agent: HTTP/1.1 over the sandbox's unix socket, one connection per stream.
//!
//! | call | body | answer |
//! | --- | --- | --- |
//! | `POST /v1/hello` | [`Hello`] | 200 [`HelloReply`] with the same nonce |
//! | `POST /v1/executions` | [`ExecutionSpec`] | attached: 200 and [frames](crate::frame), `Started`, output, `Ended`; detached: 200 [`Started`]; else 422 [`StartFailure`] |
//! | `POST /v1/name` | [`Name`] | 200 `{}` |
//! | `GET /v1/executions` | | 200 [`Executions`] |
//! | `GET /v1/executions/{handle}/output?from=N` | | 200 and frames: what follows offset N, `Ended` |
//! | `GET /v1/executions/{handle}/end` | | 200 and frames: keep-alives, `Ended` |
//! | `POST /v1/executions/{handle}/kill` | | 200 [`Killed`] when nothing of it lives |
//! | `POST /v1/executions/{handle}/signal` | [`SignalRequest`] | 200 `{}`; else 422 [`SignalFailure`] |
//! | `POST /v1/executions/{handle}/stdin[?close]` | raw bytes | 200 [`InputTaken`] |
//! | `POST /v1/executions/{handle}/size` | [`Size`] | 200 `{}` |
//! | `GET /v1/executions/{handle}/terminal?from=N`, `Upgrade: bulkhead-frames` | | 101, then frames both ways: output, `Gap`, `Ended`; `Input` |
//! | `POST /v1/files`, `Upgrade: bulkhead-frames` | [`FileCall`](crate::files::FileCall) | 101, then frames both ways, see [`files`](crate::files); else 422 [`StartFailure`] |
//!
//! 404 for a handle that names nothing (any more); 409 for what this execution cannot do (input without
//! [`Stdin::Open`], a size without a terminal, anything but output, end and kill after its end).
//!
//! A body for `stdin` has at most [`MAX_JSON`] bytes (413). `/output` and `/end` begin without `Started`; the `from` of a
//! `Gap` is always where the reader was. An attached execution has one reader, who loses nothing: the program waits
//! for it. With pipes that is the connection that started it; with a terminal that connection says `Started` and
//! `Ended` only, and the reader is the one client of `/terminal`. `/output`, and a second client, are 409.
//!
//! Versions: both sides ignore fields that they do not know; a new field has a default that means what its absence meant. A
//! new call is made only of agents that announce a version which has it. The golden recordings of earlier versions are in
//! `protocol/golden`.
//!
//! An *attached* execution dies with the connection that started it, unless it has a key; a *detached* one does not. The gateway believes
//! nothing that comes back: it parses, bounds and rebuilds.

use crate::files::{MAX_FILE_WORKERS, MAX_WATCHES};
use serde::{Deserialize, Serialize};

/// Version of this protocol, which each side announces in [`Hello`] and [`HelloReply`]. From 2 on an agent ignores fields
/// that it does not know, and frames of types from [`OPTIONAL`](crate::frame::OPTIONAL) on.
pub const AGENT_PROTOCOL: u32 = 2;
/// The oldest that a gateway speaks: that of the release before. What runs in a sandbox outlives an upgrade, its agent with
/// it; one that is older needs a sleep and a wake. No field may be added to what such an agent reads while it is spoken to:
/// version 1 refuses what it does not know.
pub const OLDEST_AGENT_PROTOCOL: u32 = 1;
const _: () = assert!(OLDEST_AGENT_PROTOCOL <= AGENT_PROTOCOL);
/// Longest [`HelloReply::release`] in bytes that is believed.
pub const MAX_RELEASE: usize = 64;
/// Path of [`Hello`].
pub const HELLO_PATH: &str = "/v1/hello";
/// Path of [`Name`].
pub const NAME_PATH: &str = "/v1/name";
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
/// What the sandbox's memory cgroup counts in all, read-only.
pub const MEMORY_USAGE_FD: i32 = 6;
/// Its `memory.stat`, read-only.
pub const MEMORY_STAT_FD: i32 = 7;
/// What the sandbox reads as `/proc/meminfo`, write-only.
pub const MEMINFO_FD: i32 = 8;
/// What the sandbox reads as `/sys/fs/cgroup/memory.current`, write-only.
pub const MEMORY_CURRENT_FD: i32 = 9;
/// The agent's own program, read-only: file operations run in it anew, as the user who asked.
pub const PROGRAM_FD: i32 = 10;
/// The last of the agent's descriptors; everything above ends with its exec.
pub const LAST_FD: i32 = PROGRAM_FD;
/// Names of cgroup leaves are the numbers below this one, used again once a leaf is gone.
pub const LEAVES: usize = MAX_EXECUTIONS + MAX_FILE_WORKERS + MAX_WATCHES + 72;
/// Environment variable that carries the tenant's memory in bytes.
pub const MEMORY_ENV: &str = "BULKHEAD_MEMORY";
/// Environment variable that carries the numbers of the processors that commands run on, with commas between.
pub const PROCESSORS_ENV: &str = "BULKHEAD_PROCESSORS";
/// Environment variable that carries the numbers of system calls that commands are refused beyond their profile, with
/// commas between; often empty.
pub const DENIED_ENV: &str = "BULKHEAD_DENIED";
/// Environment variable that carries the launch number, from 1.
pub const LAUNCH_ENV: &str = "BULKHEAD_LAUNCH";
/// Environment variable that carries `RLIMIT_NOFILE` of commands.
pub const OPEN_FILES_ENV: &str = "BULKHEAD_OPEN_FILES";
/// Bits of an execution handle that count within one launch; the launch number stands above them.
pub const HANDLE_COUNTER_BITS: u32 = 20;

/// First exchange with an agent, of a new sandbox or after a start of the gateway: proves that it is one, and of which
/// version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`AGENT_PROTOCOL`] of the sender.
    pub protocol: u32,
    /// Random; comes back as it was.
    pub nonce: String,
}

/// What an agent answers to [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloReply {
    /// [`AGENT_PROTOCOL`] of the agent.
    pub protocol: u32,
    /// [`Hello::nonce`].
    pub nonce: String,
    /// The release that it is of, for people; version 1 does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
}

/// The host name of a sandbox that was prepared before anybody asked for it: the agent writes it into `/etc/hostname`
/// and `/etc/hosts`; the runtime has set the kernel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// At most 64 bytes of `[a-z0-9.-]`.
    pub hostname: String,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionSpec {
    /// The program.
    pub program: Program,
    /// Variables on top of the agent's constant ones; later ones win. Names without `=` and NUL.
    pub env: Vec<(String, String)>,
    /// Working directory, absolute or relative to `/root`; `None` is `/root`, or `/` where that is missing.
    pub cwd: Option<String>,
    /// When the whole tree is killed, counted from its start; `None` is never.
    pub timeout_ms: Option<u64>,
    /// `name` or `uid`, each with an optional `:group` or `:gid`, looked up in the sandbox; `None` is root.
    pub user: Option<String>,
    /// What its standard streams are.
    pub stdio: Stdio,
    /// Whether it dies with the connection.
    pub hold: Hold,
    /// Makes a repeated request the same execution.
    pub key: Option<IdempotencyKey>,
}

impl ExecutionSpec {
    /// A script as root in the default directory, attached, without input and without a time limit.
    #[must_use]
    pub fn attached(script: String) -> Self {
        Self {
            program: Program::Script(script),
            env: Vec::new(),
            cwd: None,
            timeout_ms: None,
            user: None,
            stdio: Stdio::Pipes(Stdin::Null),
            hold: Hold::Attached,
            key: None,
        }
    }
}

/// The program of an execution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// One shell script, run as `bash -c SCRIPT` (`/bin/sh` where there is no bash). No NUL.
    Script(String),
    /// An interactive shell, usually on a terminal.
    Shell,
}

/// What the standard streams of an execution are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdio {
    /// Pipes for standard output and standard error.
    Pipes(Stdin),
    /// A terminal of this size for all three; its output comes as [`crate::frame::FrameType::Stdout`].
    Terminal(Size),
}

/// Standard input of an execution with pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// A pipe that requests write to, until one closes it.
    Open,
}

/// Size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// 1 to [`MAX_COLS`].
    pub cols: u16,
    /// 1 to [`MAX_ROWS`].
    pub rows: u16,
}

/// Most columns of a terminal (contract §6.1).
pub const MAX_COLS: u16 = 500;
/// Most rows of a terminal (contract §6.1).
pub const MAX_ROWS: u16 = 200;

/// Whether an execution dies with the connection that started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// It does.
    Attached,
    /// It goes on, and is found by its handle.
    Detached,
}

/// Identity of a request that may be sent twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// Chosen by the client, scoped by the gateway; at most 255 bytes.
    pub key: String,
    /// Of the request's body: another body with the same key is [`StartFailureKind::KeyConflict`].
    pub digest: String,
}

/// Executions that run or ended lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Executions {
    /// In order of their start.
    pub executions: Vec<ExecutionStatus>,
}

/// One execution of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionStatus {
    /// Its handle.
    pub handle: u64,
    /// The beginning of its script, at most [`LISTED_SCRIPT`] bytes; empty for a shell.
    pub script: String,
    /// Its start, in milliseconds since 1970.
    pub started_ms: u64,
    /// What its streams are.
    pub stdio: Stdio,
    /// Whether it dies with a connection.
    pub hold: Hold,
    /// Readers and terminals attached now.
    pub clients: u32,
    /// Offset behind the last byte of its output.
    pub offset: u64,
    /// How it ended, if it has.
    pub ended: Option<Ended>,
}

/// Bytes of a script that a list shows; 64 of them fit into [`MAX_JSON`] several times.
pub const LISTED_SCRIPT: usize = 4096;
/// How long the end of a detached execution can still be asked for, in seconds.
pub const RETAINED_SECONDS: u64 = 600;
/// How many ends are kept at most; the oldest goes first.
pub const RETAINED_ENDS: usize = 100;

/// Receipt of a kill: nothing of the execution lives, its cgroup is empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Killed {
    /// Processes that were there when the kill began; 0 for an execution that had ended.
    pub processes: u32,
}

/// A signal for every process of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalRequest {
    /// 1 to 31.
    pub signal: u8,
}

/// A signal did not reach every process that lives. Body of a 422.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalFailure {
    /// Why.
    pub kind: SignalFailureKind,
    /// The system's error number.
    pub errno: i32,
}

/// Why a signal did not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalFailureKind {
    /// Nothing of the execution is left, though its end is not known yet.
    Ending,
    /// The kernel refuses the signal for one of the processes.
    Denied,
    /// Descriptors or memory ran out.
    NoResources,
    /// Anything else.
    Internal,
}

/// How much of an input was taken; all of it, unless the program closed its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTaken {
    /// Bytes.
    pub bytes: u64,
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
    /// The root directory may not be searched: a tenant took its mode away, and nothing can be started any more.
    RootDenied,
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
    /// No such user or group in the sandbox, or no valid name or number.
    NoSuchUser,
    /// No terminal could be made: the sandbox is at its limit.
    TerminalLimit,
    /// The key was used with another body.
    KeyConflict,
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
