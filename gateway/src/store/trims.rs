//! When the oldest of what clients make us keep is looked for: seldom, since counting costs a millisecond.

use crate::limits;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// Of each kind that is bounded.
#[derive(Debug, Default)]
pub(super) struct Trims {
    pub(super) answers: Trim,
    pub(super) create_keys: Trim,
}

/// How many of one kind were kept for each organisation since the start.
#[derive(Debug, Default)]
pub(super) struct Trim(Mutex<HashMap<String, usize>>);

impl Trim {
    /// Counts one more; whether the oldest are looked for now: at the first, and then each [`limits::TRIM`].
    pub(super) fn is_due(&self, org: &str) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(org.to_owned()).or_default();
        *count = count.wrapping_add(1);
        *count % limits::TRIM == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_organisation_is_trimmed_at_its_first_and_then_each_hundredth() {
        let trim = Trim::default();
        let due = |org: &str| (0..=2 * limits::TRIM).filter(|_| trim.is_due(org)).count();
        assert_eq!((due("o"), due("p")), (3, 3));
    }
}
