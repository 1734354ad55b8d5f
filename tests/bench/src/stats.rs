//! Samples and what is said of them.

use crate::host::to_f64;
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::thread;
use std::time::Duration;

/// Time that passes before each measured operation.
pub(crate) const PACE: Duration = Duration::from_millis(25);
/// Rounds that run first and are not counted.
pub(crate) const WARM_UP: usize = 5;

/// One side of a comparison: its name and the time that each of its operations took.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    samples: Vec<Duration>,
}

/// An operation to be measured; it gets the number of the round and says how long it took.
pub(crate) type Operation<'a> = (&'static str, Box<dyn FnMut(usize) -> Result<Duration> + 'a>);

/// Runs the operations one after the other, round by round, each after a pause of [`PACE`].
pub(crate) fn interleave(rounds: usize, mut operations: Vec<Operation<'_>>) -> Result<Vec<Series>> {
    let mut all: Vec<Series> =
        operations.iter().map(|(name, _)| Series { name, samples: Vec::with_capacity(rounds) }).collect();
    for round in 0..rounds + WARM_UP {
        for ((name, operation), series) in operations.iter_mut().zip(&mut all) {
            thread::sleep(PACE);
            let took = operation(round).with_context(|| format!("{name}, round {round}"))?;
            if round >= WARM_UP {
                series.samples.push(took);
            }
        }
    }
    Ok(all)
}

impl Series {
    /// A series of samples taken elsewhere.
    pub(crate) fn new(name: &'static str, samples: Vec<Duration>) -> Self {
        Self { name, samples }
    }

    /// The sample below which `percent` of them lie, in milliseconds; 0 for none.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
        sorted.get(rank).map_or(0.0, |sample| sample.as_secs_f64() * 1e3)
    }

    fn summary(&self) -> Value {
        let at = |percent| round(self.percentile(percent));
        json!({
            "n": self.samples.len(),
            "min_ms": at(0), "p50_ms": at(50), "p99_ms": at(99), "max_ms": at(100),
        })
    }
}

/// Summaries of all series by name.
pub(crate) fn summaries(all: &[Series]) -> Value {
    Value::Object(all.iter().map(|series| (series.name.to_owned(), series.summary())).collect())
}

/// Ratios of the medians of `ours` and of each of `others`, as `ours/other`.
pub(crate) fn ratios(all: &[Series], ours: &str, others: &[&str]) -> Map<String, Value> {
    let median =
        |name: &str| all.iter().find(|series| series.name == name).map(|series| series.percentile(50));
    let mut found = Map::new();
    for other in others {
        if let (Some(mine), Some(theirs)) = (median(ours), median(other)) {
            found.insert(format!("{ours}/{other}"), json!(round(ratio(mine, theirs))));
        }
    }
    found
}

/// `a / b`, and 0 where there is nothing to divide by.
pub(crate) fn ratio(a: f64, b: f64) -> f64 {
    if b > 0.0 { a / b } else { 0.0 }
}

/// Three digits after the point.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// A number of operations in a time, per second.
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    ratio(to_f64(count), time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &'static str, ms: impl IntoIterator<Item = u64>) -> Series {
        Series::new(name, ms.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn percentiles_are_samples_by_rank() {
        let all = series("a", (1..=200).rev());
        let found = [0, 1, 50, 99, 100].map(|percent| all.percentile(percent));
        assert_eq!(found, [1.0, 2.0, 100.0, 198.0, 200.0]);
        assert_eq!(series("one", [7]).percentile(99), 7.0);
        assert_eq!(series("none", []).percentile(50), 0.0);
    }

    #[test]
    fn ratios_compare_medians_and_skip_what_was_not_measured() {
        let all = [series("ours", [2, 2, 9]), series("theirs", [8, 8, 8])];
        let found = ratios(&all, "ours", &["theirs", "nobody"]);
        assert_eq!(Value::Object(found), json!({ "ours/theirs": 0.25 }));
    }

    #[test]
    fn the_first_rounds_do_not_count_and_every_side_has_its_turn() {
        let order = std::cell::RefCell::new(Vec::new());
        let side = |name: &'static str| -> Operation<'_> {
            let order = &order;
            (
                name,
                Box::new(move |round| {
                    order.borrow_mut().push((name, round));
                    Ok(Duration::from_millis(if round < WARM_UP { 1000 } else { 1 }))
                }),
            )
        };
        let all = interleave(2, vec![side("a"), side("b")]).unwrap();
        assert_eq!(order.borrow()[..3], [("a", 0), ("b", 0), ("a", 1)]);
        assert!(all.iter().all(|one| one.samples.len() == 2 && one.percentile(100) == 1.0));
    }
}
