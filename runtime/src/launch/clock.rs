//! Where the time of a launch goes; logged at level `debug`, and added up for the metrics, so that a slow host can be asked.

use bulkhead_protocol::stats::{MAX_STEPS, Step};
use std::fmt;
use std::time::Instant;

/// Marks since the start of a launch.
#[derive(Debug)]
pub(crate) struct Clock {
    last: Instant,
    marks: Vec<(&'static str, u128)>,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { last: Instant::now(), marks: Vec::with_capacity(8) }
    }

    /// What was done since the last mark.
    pub(crate) fn mark(&mut self, what: &'static str) {
        let now = Instant::now();
        self.marks.push((what, now.duration_since(self.last).as_micros()));
        self.last = now;
    }
}

/// Where the time of all launches went.
#[derive(Debug, Default)]
pub(crate) struct Times(Vec<(&'static str, u64, u64)>);

impl Times {
    /// One more launch.
    pub(crate) fn add(&mut self, clock: &Clock) {
        for (what, micros) in &clock.marks {
            let micros = u64::try_from(*micros).unwrap_or(u64::MAX);
            match self.0.iter_mut().find(|(name, ..)| name == what) {
                Some((_, count, sum)) => (*count, *sum) = (*count + 1, sum.saturating_add(micros)),
                None => self.0.push((what, 1, micros)),
            }
        }
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        let step = |(name, count, sum_us): &(&str, u64, u64)| Step {
            name: (*name).to_owned(),
            count: *count,
            sum_us: *sum_us,
        };
        self.0.iter().take(MAX_STEPS).map(step).collect()
    }
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, micros) in &self.marks {
            write!(f, "{what} {micros} ")?;
        }
        write!(f, "µs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_launches_add_up() {
        let mut times = Times::default();
        for micros in [3, 4] {
            times.add(&Clock { last: Instant::now(), marks: vec![("a", micros), ("b", 1)] });
        }
        let steps = times.steps().into_iter().map(|step| (step.name, step.count, step.sum_us));
        assert_eq!(steps.collect::<Vec<_>>(), [("a".to_owned(), 2, 7), ("b".to_owned(), 2, 2)]);
    }
}
