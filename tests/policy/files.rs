//! Rules about the text of the sources: length, `unsafe` and its reasons, words that do not belong here.

use bulkhead_tests::programs::repository;
use std::fs;
use std::path::PathBuf;

/// A longer file does more than one thing.
const MAX_LINES: usize = 600;
/// The one place for `unsafe`.
const UNSAFE_CRATE: &str = "runtime/sys";
/// Lines of reasons above each `unsafe` block.
const SAFETY_LINES: usize = 2;

fn sources() -> Vec<(PathBuf, String)> {
    let mut todo = vec![repository().to_owned()];
    let mut found = Vec::new();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the repository").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" || name == "dist" {
                continue;
            }
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source is UTF-8");
                found.push((path.strip_prefix(repository()).expect("below the root").to_owned(), text));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

/// Lines without comments and without what stands in quotes, so that words in texts do not count.
fn code(line: &str) -> String {
    let mut outside = String::new();
    let mut quoted = false;
    let mut previous = ' ';
    for c in line.chars() {
        if c == '"' && previous != '\\' && previous != '\'' {
            quoted = !quoted;
        } else if !quoted {
            outside.push(c);
        }
        previous = c;
    }
    outside.split("//").next().unwrap_or_default().to_owned()
}

/// The keyword in one of its uses, not the word in a text that goes over several lines.
fn is_unsafe(code: &str) -> bool {
    ["unsafe {", "unsafe fn", "unsafe impl", "unsafe trait", "unsafe extern", "#[unsafe("]
        .iter()
        .any(|u| code.contains(u))
}

fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[test]
fn no_source_is_longer_than_600_lines() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= MAX_LINES, "{} has {lines} lines", path.display());
    }
}

#[test]
fn unsafe_stays_in_its_crate() {
    for (path, text) in sources() {
        if path.starts_with(UNSAFE_CRATE) {
            continue;
        }
        let found = text.lines().enumerate().find(|(_, line)| is_unsafe(&code(line)));
        assert!(found.is_none(), "{}: unsafe in line {}", path.display(), found.map_or(0, |(n, _)| n + 1));
    }
}

#[test]
fn every_unsafe_block_says_why_it_is_sound() {
    let mut bare = Vec::new();
    for (path, text) in sources().into_iter().filter(|(path, _)| path.starts_with(UNSAFE_CRATE)) {
        let lines: Vec<&str> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = code(line);
            let needs_reasons = code.contains("unsafe {") || code.contains("unsafe impl");
            if needs_reasons && reasons_above(&lines[..index]) < SAFETY_LINES {
                bare.push(format!("{}:{}", path.display(), index + 1));
            }
        }
    }
    assert!(bare.is_empty(), "fewer than {SAFETY_LINES} lines of SAFETY comment above: {bare:#?}");
}

/// Lines from `SAFETY:` to the end of the comment that stands right above a statement.
fn reasons_above(above: &[&str]) -> usize {
    let is_comment = |line: &&&str| line.trim_start().starts_with("//");
    // A statement may start some lines above its `unsafe` block.
    let skipped = above.iter().rev().take_while(|l| !is_comment(l) && !l.trim().is_empty()).take(4).count();
    let mut comment = above[..above.len() - skipped].iter().rev().take_while(is_comment);
    comment.position(|line| line.contains("SAFETY:")).map_or(0, |position| position + 1)
}

#[test]
fn every_source_says_what_it_is() {
    for (path, text) in sources().into_iter().filter(|(path, _)| !path.ends_with("tests.rs")) {
        assert!(text.starts_with("//!") || text.starts_with("#!"), "{}: no head comment", path.display());
    }
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in two parts, so that this file is no finding.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    for (path, text) in sources() {
        for (number, line) in text.lines().enumerate() {
            let found = words.iter().any(|word| has_word(line, word));
            assert!(!found, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}
