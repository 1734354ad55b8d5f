//! Negative controls: the same attack against programs from which one wall was taken away must succeed, or the test
//! of the attack proves nothing.
//!
//! The weakened programs lie in a directory of their own, are built by `scripts/test attacks`, and are never
//! shipped (`runtime/src/weaken.rs`).

use crate::programs::weakened_programs;
use crate::server::{Options, Server};

/// Environment variable of the weakened runtime.
pub const WEAKEN_ENV: &str = "BULKHEAD_WEAKEN";

/// A wall that can be taken away; what each is, `runtime/src/weaken.rs` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the runtime's own list, which says what they mean")]
pub enum Switch {
    CommandFilter,
    NamespaceLocks,
    ProcMasks,
    ProcSysReadOnly,
    CapabilityDrop,
    NoNewPrivileges,
    NoSuid,
    InnerPids,
    NetworkOwner,
    MemoryLimit,
    PidsLimit,
    CpuLimit,
    DiskLimit,
    TerminalLimit,
    MemoryFilesLimit,
    ProcessLimits,
    CoreLimit,
    ImporterFilter,
}

impl Switch {
    /// Every switch.
    pub const ALL: [Self; 18] = [
        Self::CommandFilter,
        Self::NamespaceLocks,
        Self::ProcMasks,
        Self::ProcSysReadOnly,
        Self::CapabilityDrop,
        Self::NoNewPrivileges,
        Self::NoSuid,
        Self::InnerPids,
        Self::NetworkOwner,
        Self::MemoryLimit,
        Self::PidsLimit,
        Self::CpuLimit,
        Self::DiskLimit,
        Self::TerminalLimit,
        Self::MemoryFilesLimit,
        Self::ProcessLimits,
        Self::CoreLimit,
        Self::ImporterFilter,
    ];

    /// Its name in [`WEAKEN_ENV`].
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CommandFilter => "command-filter",
            Self::NamespaceLocks => "namespace-locks",
            Self::ProcMasks => "proc-masks",
            Self::ProcSysReadOnly => "proc-sys-read-only",
            Self::CapabilityDrop => "capability-drop",
            Self::NoNewPrivileges => "no-new-privileges",
            Self::NoSuid => "no-suid",
            Self::InnerPids => "inner-pids",
            Self::NetworkOwner => "network-owner",
            Self::MemoryLimit => "memory-limit",
            Self::PidsLimit => "pids-limit",
            Self::CpuLimit => "cpu-limit",
            Self::DiskLimit => "disk-limit",
            Self::TerminalLimit => "terminal-limit",
            Self::MemoryFilesLimit => "memory-files-limit",
            Self::ProcessLimits => "process-limits",
            Self::CoreLimit => "core-limit",
            Self::ImporterFilter => "importer-filter",
        }
    }
}

/// The value of [`WEAKEN_ENV`] that takes these walls away.
#[must_use]
pub fn names(away: &[Switch]) -> String {
    let names: Vec<_> = away.iter().map(|switch| switch.name()).collect();
    names.join(",")
}

impl Server {
    /// A server without these walls. A test that ends well on it has seen its negative control, so it has to
    /// assert that the attack *succeeds*.
    ///
    /// Bombs need their bound in the test itself: what would stop them is away.
    #[must_use]
    pub fn weakened(away: &[Switch]) -> Self {
        Self::start_with(&Options {
            programs: Some(weakened_programs()),
            environment: vec![(WEAKEN_ENV.to_owned(), names(away))],
            ..Options::default()
        })
    }
}
