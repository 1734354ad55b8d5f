//! What one sandbox may use. Every number is a ceiling that the kernel enforces, never a hint.

use serde::{Deserialize, Serialize};

/// One mebibyte in bytes.
pub const MIB: u64 = 1 << 20;
/// Least memory of a sandbox: below this a shell does not start.
pub const MIN_MEMORY_BYTES: u64 = 16 * MIB;
/// Most memory of a sandbox: 1 TiB; the host's admission decides what is really given.
pub const MAX_MEMORY_BYTES: u64 = 1 << 40;
/// What the agent gets on top of the tenant's memory, so that a tenant at its limit does not starve it.
pub const AGENT_MEMORY_BYTES: u64 = 24 * MIB;
/// Least cpu, in thousandths of one processor: `cpu.max` takes no quota below 1 ms per 100 ms period.
pub const MIN_CPU_MILLIS: u32 = 50;
/// Most cpu, in thousandths of one processor.
pub const MAX_CPU_MILLIS: u32 = 1_024_000;
/// Least processes and threads.
pub const MIN_PIDS: u32 = 8;
/// Most processes and threads: half of a default host's `pid_max`.
pub const MAX_PIDS: u32 = 16_384;
/// Tasks that the agent and the inner init get on top of the tenant's.
pub const AGENT_PIDS: u32 = 32;
/// Processes and threads where the client asked for nothing.
pub const DEFAULT_PIDS: u32 = 512;
/// Least open files of one process.
pub const MIN_OPEN_FILES: u32 = 32;
/// Most open files of one process.
pub const MAX_OPEN_FILES: u32 = 16_384;
/// Open files of one process where the client asked for nothing.
pub const DEFAULT_OPEN_FILES: u32 = 4096;

/// Least disk of a sandbox: below this the file system's own blocks leave no room.
pub const MIN_DISK_BYTES: u64 = 8 * MIB;
/// Most disk of a sandbox: 1 TiB.
pub const MAX_DISK_BYTES: u64 = 1 << 40;
/// Disk where the client asked for nothing: 5 GiB (contract §3.1).
pub const DEFAULT_DISK_BYTES: u64 = 5120 * MIB;

/// The ceilings of one sandbox, as its tenant asked for them (the agent's share comes on top).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory in bytes, swap included (there is none).
    pub memory_bytes: u64,
    /// Cpu time in thousandths of one processor.
    pub cpu_millis: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Open files of one process (`RLIMIT_NOFILE`).
    pub open_files: u32,
    /// Bytes on disk, names and other metadata included.
    pub disk_bytes: u64,
}

/// The first limit that is outside its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfBounds {
    /// The field of [`Limits`].
    pub field: &'static str,
    /// The least it may be.
    pub least: u64,
    /// The most it may be.
    pub most: u64,
}

impl Limits {
    /// Checks every field against the bounds of this module.
    ///
    /// # Errors
    /// The first field that is out of bounds.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        let rows = [
            ("memory_bytes", self.memory_bytes, MIN_MEMORY_BYTES, MAX_MEMORY_BYTES),
            ("cpu_millis", u64::from(self.cpu_millis), u64::from(MIN_CPU_MILLIS), u64::from(MAX_CPU_MILLIS)),
            ("pids", u64::from(self.pids), u64::from(MIN_PIDS), u64::from(MAX_PIDS)),
            ("open_files", u64::from(self.open_files), u64::from(MIN_OPEN_FILES), u64::from(MAX_OPEN_FILES)),
            ("disk_bytes", self.disk_bytes, MIN_DISK_BYTES, MAX_DISK_BYTES),
        ];
        for (field, value, least, most) in rows {
            if value < least || value > most {
                return Err(OutOfBounds { field, least, most });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bound_is_checked_on_both_sides() {
        let (memory_bytes, disk_bytes) = (64 * MIB, 64 * MIB);
        let good = Limits { memory_bytes, cpu_millis: 500, pids: 32, open_files: 1024, disk_bytes };
        assert_eq!(good.check(), Ok(()));
        let bad = [
            (Limits { memory_bytes: MIN_MEMORY_BYTES - 1, ..good }, "memory_bytes"),
            (Limits { memory_bytes: MAX_MEMORY_BYTES + 1, ..good }, "memory_bytes"),
            (Limits { cpu_millis: MIN_CPU_MILLIS - 1, ..good }, "cpu_millis"),
            (Limits { cpu_millis: MAX_CPU_MILLIS + 1, ..good }, "cpu_millis"),
            (Limits { pids: MIN_PIDS - 1, ..good }, "pids"),
            (Limits { pids: MAX_PIDS + 1, ..good }, "pids"),
            (Limits { open_files: MIN_OPEN_FILES - 1, ..good }, "open_files"),
            (Limits { open_files: MAX_OPEN_FILES + 1, ..good }, "open_files"),
            (Limits { disk_bytes: MIN_DISK_BYTES - 1, ..good }, "disk_bytes"),
            (Limits { disk_bytes: MAX_DISK_BYTES + 1, ..good }, "disk_bytes"),
        ];
        for (limits, field) in bad {
            assert_eq!(limits.check().unwrap_err().field, field);
        }
    }
}
