//! What the program `probe` tells of its surroundings, as the suites read it.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Files of `/proc` that tell of the host and must not be readable (the mask list of the design).
pub const MASKED: &[&str] = &[
    "acpi",
    "asound",
    "bus",
    "cmdline",
    "config.gz",
    "crypto",
    "devices",
    "diskstats",
    "driver",
    "execdomains",
    "fb",
    "fs",
    "interrupts",
    "iomem",
    "ioports",
    "irq",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "latency_stats",
    "locks",
    "mdstat",
    "misc",
    "modules",
    "mtrr",
    "partitions",
    "pressure",
    "sched_debug",
    "schedstat",
    "scsi",
    "slabinfo",
    "softirqs",
    "swaps",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "tty",
    "vmallocinfo",
    "vmstat",
    "zoneinfo",
];

/// The report of one run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Real, effective, saved and file system user id.
    pub uids: Vec<u32>,
    /// The same of the group.
    pub gids: Vec<u32>,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// `/proc/self/uid_map`, blanks made single.
    pub uid_map: String,
    /// `/proc/self/gid_map`, blanks made single.
    pub gid_map: String,
    /// `CapInh`, `CapPrm`, `CapEff`, `CapBnd`, `CapAmb` as bits.
    pub capabilities: BTreeMap<String, u64>,
    /// `NoNewPrivs`.
    pub no_new_privs: u32,
    /// `Seccomp`: 2 is a filter.
    pub seccomp_mode: u32,
    /// `Seccomp_filters`.
    pub seccomp_filters: u32,
    /// `Umask`, octal.
    pub umask: String,
    /// Links of `/proc/self/ns`.
    pub namespaces: BTreeMap<String, String>,
    /// `/proc/self/mountinfo`.
    pub mounts: Vec<Mount>,
    /// Open descriptors and what they are.
    pub descriptors: BTreeMap<u32, String>,
    /// `/proc/self/limits`: soft and hard.
    pub limits: BTreeMap<String, (String, String)>,
    /// `/proc/self/cgroup`.
    pub cgroup: String,
    /// Environment.
    pub environment: BTreeMap<String, String>,
    /// Host name.
    pub hostname: String,
    /// Working directory.
    pub directory: String,
    /// Own pid.
    pub pid: u32,
    /// Parent's pid.
    pub parent: u32,
    /// Every pid that `/proc` shows.
    pub pids: Vec<u32>,
    /// `/proc/self/oom_score_adj`.
    pub oom_score_adj: i32,
    /// Names of network interfaces.
    pub interfaces: BTreeSet<String>,
    /// `/dev`: `c 1:3`, `dir`, `link TARGET`, ….
    pub devices: BTreeMap<String, String>,
    /// Of [`MASKED`]: how many bytes or entries can be read.
    pub readable: BTreeMap<String, usize>,
    /// Files below `/proc/sys` that can be opened for writing.
    pub writable_sysctls: Vec<String>,
}

/// One line of `mountinfo`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// What of the file system is mounted.
    pub root: String,
    /// Where.
    pub point: String,
    /// Options of this mount.
    pub options: Vec<String>,
    /// `shared:1` and the like; empty for a private one.
    pub propagation: Vec<String>,
    /// Type of the file system.
    pub kind: String,
    /// What was mounted.
    pub source: String,
    /// Options of the file system.
    pub super_options: Vec<String>,
}

impl Report {
    /// The mount at `point`, the last one where several lie on each other.
    ///
    /// # Panics
    /// When nothing is mounted there.
    #[must_use]
    pub fn mount(&self, point: &str) -> &Mount {
        let found = self.mounts.iter().rev().find(|mount| mount.point == point);
        found.unwrap_or_else(|| panic!("no mount at {point} among {:#?}", self.mounts))
    }
}

impl Mount {
    /// Whether the mount or its file system has this option.
    #[must_use]
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().chain(&self.super_options).any(|o| o == option)
    }
}
