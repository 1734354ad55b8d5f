//! Where the time of a launch goes; logged at level `debug`, so that a slow host can be asked.

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

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, micros) in &self.marks {
            write!(f, "{what} {micros} ")?;
        }
        write!(f, "µs")
    }
}
