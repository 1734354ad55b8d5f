//! What of /proc a sandbox does not see. On top of this the kernel refuses files that only host root may read:
//! their owner has no id in the sandbox.

use crate::error::{Error, Result};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Files that tell of the host: hardware, neighbours, kernel layout.
const FILES: [&str; 41] = [
    "buddyinfo",
    "cmdline",
    "config.gz",
    "consoles",
    "crypto",
    "devices",
    "diskstats",
    "dma",
    "execdomains",
    "fb",
    "interrupts",
    "iomem",
    "ioports",
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
    "pagetypeinfo",
    "partitions",
    "sched_debug",
    "schedstat",
    "slabinfo",
    "softirqs",
    "swaps",
    "sysrq-trigger",
    "timer_list",
    "timer_stats",
    "version_signature",
    "vmallocinfo",
    "vmstat",
    "zoneinfo",
];
/// Directories of the same kind.
const DIRECTORIES: [&str; 10] =
    ["acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "pressure", "scsi", "tty"];

/// Where all of it lies.
const PROC: &str = "/proc/";

/// What has to be covered on this host.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Masks {
    pub(crate) files: Vec<&'static str>,
    pub(crate) directories: Vec<&'static str>,
}

impl Masks {
    /// Reads the host's /proc once: what is not there needs no mask, and what only root may open needs none.
    /// Every mask is a mount of 10 µs in every launch.
    pub(crate) fn for_this_host() -> Self {
        let mode =
            |name: &str| Path::new("/proc").join(name).metadata().ok().map(|meta| meta.permissions().mode());
        Self::from_modes(mode)
    }

    /// What is covered, by its path in a sandbox.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.files.iter().chain(&self.directories).map(|name| format!("{PROC}{name}")).collect()
    }

    /// From those paths.
    pub(crate) fn of_paths(paths: &[String]) -> Result<Self> {
        let mut masks = Self::default();
        for path in paths {
            let name = path.strip_prefix(PROC).ok_or(Error::Spec("a mask outside of /proc"))?;
            let known = |names: &[&'static str]| names.iter().find(|known| **known == name).copied();
            match (known(&FILES), known(&DIRECTORIES)) {
                (Some(file), _) => masks.files.push(file),
                (None, Some(directory)) => masks.directories.push(directory),
                (None, None) => return Err(Error::Spec("a mask of something unknown")),
            }
        }
        Ok(masks)
    }

    fn from_modes(mode: impl Fn(&str) -> Option<u32>) -> Self {
        let open_to_others = |name: &&str| mode(name).is_some_and(|bits| bits & 0o077 != 0);
        Self {
            files: FILES.into_iter().filter(open_to_others).collect(),
            directories: DIRECTORIES.into_iter().filter(open_to_others).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_exists_and_others_may_open_is_covered() {
        let masks = Masks::from_modes(|name| match name {
            "keys" => Some(0o444),
            "kcore" => Some(0o400),
            "irq" => Some(0o555),
            _ => None,
        });
        assert_eq!(masks, Masks { files: vec!["keys"], directories: vec!["irq"] });
        assert_eq!(Masks::of_paths(&masks.paths()).unwrap(), masks);
        assert!(Masks::of_paths(&["/proc/self".to_owned()]).is_err());
        assert!(Masks::of_paths(&["/sys/keys".to_owned()]).is_err());
    }
}
