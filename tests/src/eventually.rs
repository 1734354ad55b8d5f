//! Waiting for something by asking again: the only way in which a suite waits.

use std::time::{Duration, Instant};

/// Environment variable with the seconds that [`eventually`] is patient; slow machines raise it.
pub const PATIENCE_ENV: &str = "BULKHEAD_TEST_PATIENCE_SECONDS";
/// Patience where the variable is not set: PID 1 of a test machine may take seconds to reap what it inherits.
const DEFAULT_PATIENCE_SECONDS: u64 = 10;
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// How long a test waits for what must come.
#[must_use]
pub fn patience() -> Duration {
    let seconds = std::env::var(PATIENCE_ENV).ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(DEFAULT_PATIENCE_SECONDS))
}

/// Calls `look` until it gives a value.
///
/// # Panics
/// When [`patience`] is over; the message holds the last reason.
pub fn eventually<T>(what: &str, look: impl FnMut() -> Result<T, String>) -> T {
    within(patience(), what, look)
}

/// [`eventually`] with a patience of its own.
///
/// # Panics
/// When `time` is over; the message holds the last reason.
pub fn within<T>(time: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(reason) if start.elapsed() > time => {
                panic!("{what}: not within {:.1} s: {reason}", time.as_secs_f64())
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_late_is_waited_for() {
        let mut left = 3;
        let found = eventually("the third look", || {
            left -= 1;
            if left == 0 { Ok("there") } else { Err(format!("{left} left")) }
        });
        assert_eq!(found, "there");
    }

    #[test]
    #[should_panic(expected = "never: not within 0.0 s: because")]
    fn what_never_comes_says_why() {
        within(Duration::ZERO, "never", || -> Result<(), String> { Err("because".to_owned()) });
    }
}
