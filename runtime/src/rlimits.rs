//! Limits of single processes: what every process of a sandbox has at most, whoever started the server. The cgroup
//! bounds them together.

use crate::error::{Doing, Result};
use bulkhead_protocol::Limits;
use bulkhead_protocol::limits::{AGENT_PIDS, MIN_OPEN_FILES};
use bulkhead_sys::error::Context;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

/// Open files of the agent itself at least, however few a command may have: pipes and connections.
const AGENT_OPEN_FILES: u64 = 1024;
/// One sandbox may have one in so many of the files that the host can have open (`fs.file-max`): memory bounds them
/// too, but at 256 bytes each that may be more than there are. systemd lifts the ceiling, so that nothing is cut.
const SHARE_OF_FILES: u64 = 2;
/// What a program finds as its stack, and glibc takes for each thread's, in bytes: Linux's own default. It may ask
/// for more, which counts as memory like any other.
const STACK_BYTES: u64 = 8 << 20;

/// How much of a limit this process itself may give away, and how much the host has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ceilings {
    open_files: u64,
    stack: u64,
    /// Files that the whole host may have open.
    files_of_host: u64,
}

impl Ceilings {
    pub(crate) fn read() -> Result<Self> {
        let hard = |resource| {
            getrlimit(resource)
                .during("getrlimit", || format!("{resource:?}"))
                .doing("read the limits of this process")
                .map(|(_, hard)| hard)
        };
        Ok(Self {
            open_files: hard(Resource::RLIMIT_NOFILE)?,
            stack: hard(Resource::RLIMIT_STACK)?,
            files_of_host: file_max()?,
        })
    }
}

fn file_max() -> Result<u64> {
    let path = "/proc/sys/fs/file-max";
    let text =
        std::fs::read_to_string(path).during("read", || path.into()).doing("read the limit of files")?;
    // What is no number is more than one.
    Ok(text.trim().parse().unwrap_or(u64::MAX))
}

/// Open files of one process of a tenant: as asked for, unless all processes together could then open more than
/// [`SHARE_OF_FILES`] allows. The host's table is one for everybody, the gateway included.
pub(crate) fn open_files(limits: &Limits, ceilings: Ceilings) -> u64 {
    let share = ceilings.files_of_host / SHARE_OF_FILES / u64::from(limits.pids + AGENT_PIDS);
    u64::from(limits.open_files).min(share.max(u64::from(MIN_OPEN_FILES)))
}

/// One limit of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProcessLimit {
    pub(crate) resource: Resource,
    /// Its row in `/proc/PID/limits`.
    pub(crate) row: &'static str,
    pub(crate) soft: u64,
    pub(crate) hard: u64,
}

/// The limits of a sandbox. `RLIMIT_LOCKS` is not among them: no kernel since 2.4 looks at it.
pub(crate) fn of(limits: &Limits, ceilings: Ceilings) -> Vec<ProcessLimit> {
    let both = |resource, row, value| ProcessLimit { resource, row, soft: value, hard: value };
    let files = open_files(limits, ceilings).max(AGENT_OPEN_FILES).min(ceilings.open_files);
    vec![
        both(Resource::RLIMIT_NOFILE, "Max open files", files),
        both(Resource::RLIMIT_NPROC, "Max processes", u64::from(limits.pids + AGENT_PIDS)),
        // Not 0: with a piped core_pattern the kernel ignores 0 and runs the host's helper; 1 means "skip".
        both(Resource::RLIMIT_CORE, "Max core file size", 1),
        both(Resource::RLIMIT_MEMLOCK, "Max locked memory", 64 << 10),
        both(Resource::RLIMIT_MSGQUEUE, "Max msgqueue size", 800 << 10),
        both(Resource::RLIMIT_SIGPENDING, "Max pending signals", 4096),
        both(Resource::RLIMIT_RTPRIO, "Max realtime priority", 0),
        both(Resource::RLIMIT_NICE, "Max nice priority", 0),
        ProcessLimit {
            resource: Resource::RLIMIT_STACK,
            row: "Max stack size",
            soft: STACK_BYTES.min(ceilings.stack),
            hard: ceilings.stack,
        },
    ]
}

impl ProcessLimit {
    /// Soft and hard, as `/proc/PID/limits` writes them.
    pub(crate) fn text(&self) -> String {
        let word = |value: u64| {
            if value == RLIM_INFINITY { "unlimited".to_owned() } else { value.to_string() }
        };
        format!("{} {}", word(self.soft), word(self.hard))
    }
}
