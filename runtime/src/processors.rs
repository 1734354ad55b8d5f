//! Which processors a sandbox runs on: exactly as many as it was given, so that programs which count them are
//! told the truth, spread so that none carries more than it must.

use crate::error::{Doing, Result};
use bulkhead_sys::error::Context;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use std::collections::BTreeMap;

/// The host's processors that this process may use, with what `/proc/cpuinfo` says of each.
#[derive(Debug)]
pub(crate) struct Host {
    numbers: Vec<usize>,
    blocks: Vec<String>,
}

/// The processors of one sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Processors {
    /// How many.
    pub(crate) count: usize,
    blocks: Vec<String>,
}

impl Host {
    pub(crate) fn read() -> Result<Self> {
        let mine = sched_getaffinity(Pid::from_raw(0))
            .during("sched_getaffinity", String::new)
            .doing("count processors")?;
        let numbers = (0..CpuSet::count()).filter(|number| mine.is_set(*number) == Ok(true)).collect();
        let path = "/proc/cpuinfo";
        let text = std::fs::read_to_string(path).during("read", || path.into()).doing("count processors")?;
        let blocks = text.split_inclusive("\n\n").map(str::to_owned).collect();
        Ok(Self { numbers, blocks })
    }

    /// Chooses for a sandbox of `cpu_millis`; `load` says what each processor carries already, in thousandths.
    pub(crate) fn choose(&self, cpu_millis: u32, load: &BTreeMap<usize, u64>) -> Vec<usize> {
        let wanted = usize::try_from(cpu_millis.div_ceil(1000)).unwrap_or(usize::MAX);
        let count = wanted.clamp(1, self.numbers.len().max(1));
        let mut numbers = self.numbers.clone();
        numbers.sort_by_key(|number| load.get(number).copied().unwrap_or(0));
        numbers.truncate(count);
        numbers.sort_unstable();
        numbers
    }

    /// What was chosen, in full.
    pub(crate) fn these(&self, numbers: &[usize]) -> Processors {
        let count = numbers.len();
        Processors { count, blocks: self.blocks.iter().take(count).cloned().collect() }
    }
}

impl Processors {
    /// `/proc/cpuinfo` of the sandbox, counted from 0.
    pub(crate) fn cpuinfo(&self) -> String {
        let numbered = |(number, block): (usize, &String)| {
            let rest = block.split_once('\n').map_or("", |(_, rest)| rest);
            format!("processor\t: {number}\n{rest}")
        };
        self.blocks.iter().enumerate().map(numbered).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(count: usize) -> Host {
        let block = |number| format!("processor\t: {number}\nmodel name\t: x\ncore id\t\t: {number}\n\n");
        Host { numbers: (0..count).collect(), blocks: (0..count).map(block).collect() }
    }

    #[test]
    fn fractions_count_as_whole_ones_and_nobody_gets_more_than_there_are() {
        let none = BTreeMap::new();
        for (millis, count) in [(50, 1), (1000, 1), (1001, 2), (2500, 3), (64_000, 4)] {
            assert_eq!(host(4).choose(millis, &none).len(), count, "{millis}");
        }
    }

    #[test]
    fn the_least_loaded_are_chosen_and_rows_are_numbered_from_zero() {
        let load = BTreeMap::from([(0, 1000), (1, 200), (2, 1500)]);
        let chosen = host(4).choose(2000, &load);
        assert_eq!(chosen, [1, 3]);
        let text = host(4).these(&chosen).cpuinfo();
        assert!(text.starts_with("processor\t: 0\nmodel name"), "{text}");
        assert_eq!(text.matches("processor\t: ").count(), 2);
    }
}
