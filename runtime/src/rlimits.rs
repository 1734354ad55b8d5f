//! Limits of single processes: what every process of a sandbox has at most, whoever started the server. The cgroup
//! bounds them together.

use crate::error::{Doing, Error, Result};
use bulkhead_protocol::Limits;
use bulkhead_protocol::limits::{AGENT_PIDS, MIN_OPEN_FILES};
use bulkhead_sys::error::Context;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType};

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
    /// Those of no host.
    #[cfg(test)]
    pub(crate) fn for_test() -> Self {
        Self { open_files: 1 << 20, stack: RLIM_INFINITY, files_of_host: 1 << 20 }
    }

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
pub(crate) fn of(limits: &Limits, ceilings: Ceilings) -> Result<Vec<PosixRlimit>> {
    let limit =
        |kind, soft: u64, hard: u64| PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build();
    let both = |kind, value| limit(kind, value, value);
    let files = open_files(limits, ceilings).max(AGENT_OPEN_FILES).min(ceilings.open_files);
    [
        both(PosixRlimitType::RlimitNofile, files),
        both(PosixRlimitType::RlimitNproc, u64::from(limits.pids + AGENT_PIDS)),
        // Not 0: with a piped core_pattern the kernel ignores 0 and runs the host's helper; 1 means "skip".
        both(PosixRlimitType::RlimitCore, 1),
        both(PosixRlimitType::RlimitMemlock, 64 << 10),
        both(PosixRlimitType::RlimitMsgqueue, 800 << 10),
        both(PosixRlimitType::RlimitSigpending, 4096),
        both(PosixRlimitType::RlimitRtprio, 0),
        both(PosixRlimitType::RlimitNice, 0),
        limit(PosixRlimitType::RlimitStack, STACK_BYTES.min(ceilings.stack), ceilings.stack),
    ]
    .into_iter()
    .map(|limit| limit.map_err(|_| Error::Spec("cannot be composed")))
    .collect()
}

/// The limits that sandboxes have: in the spec, to the kernel, and in `/proc/PID/limits`.
const KINDS: [(PosixRlimitType, Resource, &str); 9] = [
    (PosixRlimitType::RlimitNofile, Resource::RLIMIT_NOFILE, "Max open files"),
    (PosixRlimitType::RlimitNproc, Resource::RLIMIT_NPROC, "Max processes"),
    (PosixRlimitType::RlimitCore, Resource::RLIMIT_CORE, "Max core file size"),
    (PosixRlimitType::RlimitMemlock, Resource::RLIMIT_MEMLOCK, "Max locked memory"),
    (PosixRlimitType::RlimitMsgqueue, Resource::RLIMIT_MSGQUEUE, "Max msgqueue size"),
    (PosixRlimitType::RlimitSigpending, Resource::RLIMIT_SIGPENDING, "Max pending signals"),
    (PosixRlimitType::RlimitRtprio, Resource::RLIMIT_RTPRIO, "Max realtime priority"),
    (PosixRlimitType::RlimitNice, Resource::RLIMIT_NICE, "Max nice priority"),
    (PosixRlimitType::RlimitStack, Resource::RLIMIT_STACK, "Max stack size"),
];

impl ProcessLimit {
    /// As the spec has it.
    pub(crate) fn read(limit: PosixRlimit) -> Result<Self> {
        let kind = KINDS.iter().find(|(kind, ..)| *kind == limit.typ());
        let (_, resource, row) = *kind.ok_or(Error::Spec("a limit that no sandbox has"))?;
        Ok(Self { resource, row, soft: limit.soft(), hard: limit.hard() })
    }

    /// Soft and hard, as `/proc/PID/limits` writes them.
    pub(crate) fn text(&self) -> String {
        let word = |value: u64| {
            if value == RLIM_INFINITY { "unlimited".to_owned() } else { value.to_string() }
        };
        format!("{} {}", word(self.soft), word(self.hard))
    }
}
