//! Log lines that a client or a sandbox can cause are let through at a bounded rate, and say how many were
//! not.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines in one window.
const LINES: u64 = 20;
/// Length of a window, in seconds.
const WINDOW: u64 = 10;

/// One kind of line.
#[derive(Debug)]
pub(crate) struct Limiter {
    window: AtomicU64,
    lines: AtomicU64,
}

impl Limiter {
    pub(crate) const fn new() -> Self {
        Self { window: AtomicU64::new(0), lines: AtomicU64::new(0) }
    }

    /// Whether a line may be written, and how many were held back before it. Two threads that meet at the
    /// border of a window may let one line more through.
    pub(crate) fn permit(&self) -> Option<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()) / WINDOW;
        if self.window.swap(now, Ordering::Relaxed) == now {
            return (self.lines.fetch_add(1, Ordering::Relaxed) < LINES).then_some(0);
        }
        Some(self.lines.swap(1, Ordering::Relaxed).saturating_sub(LINES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_lines_is_cut() {
        let limiter = Limiter::new();
        let through = (0..1000).filter(|_| limiter.permit().is_some()).count();
        assert!((20..=42).contains(&through), "{through}");
    }
}
