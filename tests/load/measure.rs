//! Latencies and memory under load.

use bulkhead_tests::Sandbox;
use std::time::{Duration, Instant};

/// Operations of one measurement, and the pause before each.
const ROUNDS: usize = 150;
const PACE: Duration = Duration::from_millis(10);
/// What a scheduler's tick and a busy host may add to a median and to the slowest hundredth.
const NOISE: [Duration; 2] = [Duration::from_micros(500), Duration::from_millis(4)];

/// Durations in order.
#[derive(Debug, Clone)]
pub(crate) struct Latency(Vec<Duration>);

impl Latency {
    pub(crate) fn new(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// Of `exec true`.
    pub(crate) fn of_exec(sandbox: &Sandbox<'_>) -> Self {
        let one = |_| {
            std::thread::sleep(PACE);
            let start = Instant::now();
            let _run = sandbox.exec("true").ok();
            start.elapsed()
        };
        Self::new((0..ROUNDS).map(one).collect())
    }

    /// The sample below which `percent` of them lie.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1) - 1;
        self.0.get(rank).copied().unwrap_or_default()
    }

    /// Checks median and slowest hundredth against those of the same run without load.
    pub(crate) fn assert_within(&self, factor: f64, quiet: &Self) {
        for (percent, noise) in [50, 99].into_iter().zip(NOISE) {
            let (busy, calm) = (self.percentile(percent), quiet.percentile(percent));
            assert!(busy <= calm.mul_f64(factor) + noise, "p{percent}: {self}, {quiet} without load");
        }
    }
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "p50 {:?} p99 {:?}", self.percentile(50), self.percentile(99))
    }
}

/// What the buffers of all TCP sockets of the host hold.
pub(crate) fn kernel_tcp_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/net/sockstat").expect("/proc is mounted");
    let line = text.lines().find_map(|line| line.strip_prefix("TCP: ")).expect("a line for TCP");
    let pages: u64 = line.rsplit(' ').next().and_then(|pages| pages.parse().ok()).expect("mem");
    pages * 4
}
