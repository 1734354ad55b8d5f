//! What a sandbox reads as `/proc/meminfo`: written by the runtime at first, then kept true by the agent.

/// Memory of one sandbox in bytes, as its cgroup counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// The limit.
    pub total: u64,
    /// Everything that is charged.
    pub used: u64,
    /// Of that, pages of files in active use.
    pub active_file: u64,
    /// Of that, pages of files that go first when room is needed.
    pub inactive_file: u64,
    /// Of that, files in memory and shared memory, which cannot go.
    pub shared: u64,
}

impl Memory {
    /// The file, always of the same length, so that it can be written over.
    ///
    /// `MemFree`, `MemAvailable`, `Cached`, `Active(file)`, `Inactive(file)`, `AnonPages` and `Shmem` follow what is
    /// used; `MemTotal` and `SwapTotal` are exact; the rest is zero.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { total, used, active_file, inactive_file, shared } = *self;
        let free = total.saturating_sub(used);
        let files = active_file + inactive_file;
        let available = (free + files).min(total);
        let anonymous = used.saturating_sub(files + shared);
        let rows = [
            ("MemTotal", total),
            ("MemFree", free),
            ("MemAvailable", available),
            ("Buffers", 0),
            ("Cached", files + shared),
            ("SwapCached", 0),
            ("Active", active_file + anonymous),
            ("Inactive", inactive_file),
            ("Active(anon)", anonymous),
            ("Inactive(anon)", 0),
            ("Active(file)", active_file),
            ("Inactive(file)", inactive_file),
            ("Unevictable", 0),
            ("Mlocked", 0),
            ("SwapTotal", 0),
            ("SwapFree", 0),
            ("Dirty", 0),
            ("Writeback", 0),
            ("AnonPages", anonymous),
            ("Mapped", 0),
            ("Shmem", shared),
            ("KReclaimable", 0),
            ("Slab", 0),
            ("SReclaimable", 0),
            ("SUnreclaim", 0),
            ("KernelStack", 0),
            ("PageTables", 0),
            ("CommitLimit", total),
            ("Committed_AS", used),
        ];
        // Proc pads numbers to eight digits; the sum of three counters has more where the limit is above 30 GiB.
        let width = (total.saturating_mul(3) >> 10).to_string().len().max(8);
        let row =
            |(name, bytes): (&str, u64)| format!("{:<15} {:>width$} kB\n", format!("{name}:"), bytes >> 10);
        rows.map(row).concat()
    }

    /// Counters above the limit are cut to it: it is passed by the agent's own share alone. Reads `used` from `memory.current` or `memory.usage_in_bytes`, and the parts from `memory.stat` of either
    /// version, whose totals count the groups below too.
    #[must_use]
    pub fn parse(total: u64, usage: &str, stat: &str) -> Self {
        let row = |name: &str| {
            let of = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
            stat.lines().find_map(of).map(|bytes: u64| bytes.min(total))
        };
        // Version 1 has both rows; only the total counts the groups below.
        let number = |[all, own]: [&str; 2]| row(all).or_else(|| row(own)).unwrap_or(0);
        Self {
            total,
            used: usage.trim().parse().unwrap_or(0).min(total),
            active_file: number(["total_active_file", "active_file"]),
            inactive_file: number(["total_inactive_file", "inactive_file"]),
            shared: number(["total_shmem", "shmem"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_the_group_and_the_length_stays() {
        let empty = Memory { total: 64 << 20, ..Memory::default() };
        assert!(empty.text().starts_with("MemTotal:          65536 kB\nMemFree:           65536 kB\n"));
        let stat = "cache 1\nactive_file 1048576\ninactive_file 2097152\nshmem 4096\n";
        let busy = Memory::parse(64 << 20, "33554432\n", stat);
        let text = busy.text();
        assert_eq!(text.len(), empty.text().len());
        assert!(text.contains("MemFree:           32768 kB\nMemAvailable:      35840 kB\n"), "{text}");
    }

    #[test]
    fn a_v1_groups_totals_win_over_its_own_rows_and_more_than_the_limit_is_no_underflow() {
        let stat = "total_active_file 4096\ntotal_inactive_file 8192\ntotal_shmem 0\n";
        let over = Memory::parse(1 << 20, "2097152", stat);
        assert_eq!((over.active_file, over.inactive_file), (4096, 8192));
        assert!(over.text().contains("MemFree:               0 kB"));
        let most = u64::MAX.to_string();
        let stat = format!("active_file {most}\ninactive_file {most}\nshmem {most}\n");
        for total in [0, 1 << 20, 16 << 30, 31 << 30, 1 << 40] {
            let empty = Memory { total, ..Memory::default() };
            assert_eq!(Memory::parse(total, &most, &stat).text().len(), empty.text().len(), "{total}");
        }
        assert_eq!(Memory::parse(1, "garbage", "x\ny z\n"), Memory { total: 1, ..Memory::default() });
    }
}
