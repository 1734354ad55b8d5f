//! Time that no step of the wall clock moves: deadlines are moments of `CLOCK_BOOTTIME`, which also runs while the host
//! is suspended. It begins anew with each boot, so a deadline remembers its boot; only one of an earlier boot is judged by
//! the wall clock.

use crate::store::now_us;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Names the boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// This boot and its clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    boot: String,
}

/// When something ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deadline {
    boot: String,
    /// Milliseconds since that boot.
    boot_ms: u64,
    /// Microseconds since 1970, as the wall clock said when it was set.
    pub(crate) wall_us: i64,
}

impl Clock {
    /// The clock of this boot. Where the kernel does not name it, every deadline is judged by the wall clock after a
    /// restart.
    pub(crate) fn new() -> Self {
        let boot = std::fs::read_to_string(BOOT_ID).unwrap_or_else(|error| {
            tracing::warn!(%error, "this boot has no name");
            String::new()
        });
        Self { boot: boot.trim().to_owned() }
    }

    /// A moment that is so far away.
    pub(crate) fn after(&self, time: Duration) -> Deadline {
        let micros = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
        Deadline {
            boot: self.boot.clone(),
            boot_ms: boot_ms().saturating_add(millis(time)),
            wall_us: now_us().saturating_add(micros),
        }
    }

    pub(crate) fn is_past(&self, deadline: &Deadline) -> bool {
        deadline.boot == self.boot && deadline.boot_ms <= boot_ms()
    }

    /// The same deadline as a moment of this boot, if it is one of another. It is never further away than `most`, wherever
    /// the wall clock went meanwhile.
    pub(crate) fn renew(&self, deadline: &Deadline, most: Duration) -> Option<Deadline> {
        if deadline.boot == self.boot && !self.boot.is_empty() {
            return None;
        }
        let left = u64::try_from(deadline.wall_us.saturating_sub(now_us())).unwrap_or(0);
        let left = Duration::from_micros(left).min(most);
        let boot_ms = boot_ms().saturating_add(millis(left));
        Some(Deadline { boot: self.boot.clone(), boot_ms, wall_us: deadline.wall_us })
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn boot_ms() -> u64 {
    // It fails for clocks that do not exist, and this one exists since 2.6.39.
    let Ok(now) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    let (seconds, nanos) = (now.tv_sec(), now.tv_nsec());
    u64::try_from(seconds).unwrap_or(0) * 1000 + u64::try_from(nanos / 1_000_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn clock(boot: &str) -> Clock {
        Clock { boot: boot.to_owned() }
    }

    #[test]
    fn the_wall_clock_does_not_count_within_a_boot() {
        let clock = clock("a");
        let far = clock.after(HOUR);
        let stepped = Deadline { wall_us: 0, ..far.clone() };
        assert!(!clock.is_past(&far) && !clock.is_past(&stepped));
        assert_eq!(clock.renew(&stepped, HOUR), None);
        assert!(clock.is_past(&clock.after(Duration::ZERO)));
    }

    #[test]
    fn after_a_reboot_it_does_and_never_adds_time() {
        let (before, now) = (clock("a"), clock("b"));
        let old = before.after(HOUR);
        assert!(!now.is_past(&old), "it is renewed first");
        let renewed = now.renew(&old, HOUR).unwrap();
        assert!(!now.is_past(&renewed));
        let past = Deadline { wall_us: now_us() - 1, ..old.clone() };
        assert!(now.is_past(&now.renew(&past, HOUR).unwrap()));
        let far = Deadline { wall_us: i64::MAX, ..old };
        let renewed = now.renew(&far, Duration::ZERO).unwrap();
        assert!(now.is_past(&renewed), "a clock that went back adds nothing");
        assert_eq!(renewed.wall_us, i64::MAX);
    }
}
