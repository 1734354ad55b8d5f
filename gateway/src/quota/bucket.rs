//! A rate with a burst, as one moment: the one at which everything taken so far is paid for.

use std::time::Duration;
use tokio::time::Instant;

/// What is paid for until when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    paid: Instant,
}

/// Nanoseconds of a second.
const SECOND: u128 = 1_000_000_000;

/// How long `units` take at `rate` units per second; a rate of 0 never pays anything, within reason.
fn time(units: u64, rate: u64) -> Duration {
    let nanos = u128::from(units) * SECOND / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX)).min(MOST)
}

/// No debt is longer: a client that has taken much at once shall not pay for days.
const MOST: Duration = Duration::from_secs(60);

impl Bucket {
    pub(super) fn new(now: Instant) -> Self {
        Self { paid: now }
    }

    /// Takes one unit, unless the burst is used up.
    pub(super) fn take(&mut self, now: Instant, rate: u64, burst: Duration) -> Option<()> {
        let paid = self.paid.max(now) + time(1, rate);
        if paid > now + burst.max(time(1, rate)) {
            return None;
        }
        self.paid = paid;
        Some(())
    }

    /// Takes what is gone already.
    pub(super) fn spend(&mut self, now: Instant, units: u64, rate: u64) {
        self.paid = (self.paid.max(now) + time(units, rate)).min(now + MOST);
    }

    /// How long to wait until no more than the burst is owed.
    pub(super) fn debt(&self, now: Instant, burst: Duration) -> Duration {
        self.paid.saturating_duration_since(now + burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However requests are spread, no more go through than rate and burst allow.
        #[test]
        fn the_rate_holds_over_any_time(
            rate in 1_u64..1000,
            pauses in proptest::collection::vec(0_u64..50_000, 1..300),
        ) {
            let (start, burst) = (Instant::now(), Duration::from_secs(2));
            let mut bucket = Bucket::new(start);
            let (mut now, mut through) = (start, 0_u64);
            for pause in pauses {
                now += Duration::from_micros(pause);
                through += u64::from(bucket.take(now, rate, burst).is_some());
            }
            let allowed = (now - start + burst).as_secs_f64() * f64::from(u32::try_from(rate).unwrap());
            prop_assert!(f64::from(u32::try_from(through).unwrap()) <= allowed + 1.0);
        }

        /// Who waits as long as told sends at the rate.
        #[test]
        fn waiting_pays(rate in 1_000_u64..1_000_000, pieces in proptest::collection::vec(1_u64..70_000, 1..200)) {
            let (start, burst) = (Instant::now(), Duration::from_secs(1));
            let mut bucket = Bucket::new(start);
            let (mut now, mut sent) = (start, 0_u64);
            for piece in pieces {
                sent += piece;
                bucket.spend(now, piece, rate);
                now += bucket.debt(now, burst);
            }
            let time = (now - start + burst).as_secs_f64();
            // The last piece may be sent before it is paid for.
            let most = time * f64::from(u32::try_from(rate).unwrap()) + 70_000.0;
            prop_assert!(f64::from(u32::try_from(sent).unwrap()) <= most + 1.0 || time >= MOST.as_secs_f64());
        }
    }

    #[test]
    fn a_burst_goes_through_and_then_the_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(now);
        let many = (0..100).filter(|_| bucket.take(now, 10, Duration::from_secs(2)).is_some()).count();
        assert_eq!(many, 20);
        assert!(bucket.take(now + Duration::from_millis(100), 10, Duration::from_secs(2)).is_some());
        assert!(bucket.take(now + Duration::from_millis(100), 10, Duration::from_secs(2)).is_none());
    }
}
