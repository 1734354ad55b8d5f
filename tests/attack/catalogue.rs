//! The table of the catalogue is whole, and the names of tests agree with it.

use bulkhead_tests::programs::repository;
use std::collections::BTreeSet;

const TABLE: &str = include_str!("catalogue");

/// Ids whose entries are tested in the suites of this run.
fn rows() -> Vec<Vec<&'static str>> {
    let lines = TABLE.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split('|').map(str::trim).collect()).collect()
}

#[test]
fn every_row_says_where_and_against_what() {
    let mut ids = BTreeSet::new();
    for row in rows() {
        let [id, entry, place, control] = row[..] else { panic!("{row:?}") };
        assert!(ids.insert(id) && id.len() == 3 && !entry.is_empty(), "{row:?}");
        let known = ["here", "contract", "crash", "load", "vm", "open"].contains(&place);
        assert!(known || place.strip_prefix("later ").is_some_and(|reason| !reason.is_empty()), "{row:?}");
        assert!(control == "yes" || control.starts_with("none"), "{row:?}");
    }
}

/// A test of an entry that is not in the table, or that stands there as not tested, would be lost in the report.
#[test]
fn every_test_that_names_an_entry_is_counted() {
    let mut counted = 0;
    for suite in ["attack", "inside", "limits"] {
        for file in std::fs::read_dir(repository().join("tests").join(suite)).expect("a suite").flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            for name in text.lines().filter_map(|line| line.trim().strip_prefix("fn ")) {
                let Some((id, _)) = name.split_once('_') else { continue };
                let is_id = id.len() == 3 && id[1..].bytes().all(|byte| byte.is_ascii_digit());
                let Some(row) = rows().into_iter().find(|row| is_id && row[0].eq_ignore_ascii_case(id))
                else {
                    assert!(!is_id, "{}: {name}: no entry {id}", file.path().display());
                    continue;
                };
                assert!(["here", "open"].contains(&row[2]), "{}: {name}", file.path().display());
                counted += 1;
            }
        }
    }
    assert!(counted > 20, "{counted} tests");
}
