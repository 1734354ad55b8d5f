//! What became of each entry of the attack catalogue, for the table at the end of `scripts/test attacks`.
//!
//! A test belongs to the entry that its name begins with (`e01_…`). It counts when the servers that it started end
//! well: a server of the real programs says *held*, a weakened one that the *negative control* was seen.

use crate::programs::repository;
use std::fs;
use std::io::Write;

/// What one test says of one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The attack failed, as it must.
    Held,
    /// Without the wall it succeeded.
    Control,
    /// The test failed.
    Broken,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Control => "control",
            Self::Broken if is_tried_again() => "again",
            Self::Broken => "BROKEN",
        }
    }
}

/// Whether the test runs once more when it fails now: the report names what needed that.
fn is_tried_again() -> bool {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok()).unwrap_or(1);
    number("NEXTEST_ATTEMPT") < number("NEXTEST_TOTAL_ATTEMPTS")
}

/// Where the lines are collected: one file that tests append to.
const FILE: &str = "target/attack-verdicts";

/// Writes the verdict of the test that runs in this thread, if its name begins with an id.
pub fn record(verdict: Verdict) {
    let thread = std::thread::current();
    let Some(test) = thread.name() else { return };
    if let Some(id) = id_of(test) {
        record_for(&id, verdict, test);
    }
}

/// Writes a verdict for an entry that the test's name does not begin with: one test may prove two.
pub fn also(id: &str, verdict: Verdict) {
    let thread = std::thread::current();
    record_for(id, verdict, thread.name().unwrap_or("?"));
}

fn record_for(id: &str, verdict: Verdict, test: &str) {
    let line = format!("{id}\t{}\t{test}\n", verdict.word());
    let file = fs::OpenOptions::new().append(true).create(true).open(repository().join(FILE));
    // One short write: lines of tests that run beside each other do not mix.
    let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
    assert!(written.is_ok() || std::thread::panicking(), "{FILE}: {written:?}");
}

/// `E01` of `escape::e01_files_that_…`.
fn id_of(test: &str) -> Option<String> {
    let name = test.rsplit("::").next()?;
    let (id, _) = name.split_once('_')?;
    let mut letters = id.chars();
    let shape = letters.next()?.is_ascii_lowercase() && id.len() == 3 && letters.all(|c| c.is_ascii_digit());
    shape.then(|| id.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_beginnings_of_names() {
        assert_eq!(id_of("escape::e01_files_that").as_deref(), Some("E01"));
        assert_eq!(id_of("p14_x").as_deref(), Some("P14"));
        for other in ["escape::calls_that_steer", "e1_x", "m001_x", "escape::eab_x", "main"] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
