//! SECURITY.md names only tests that exist.

use bulkhead_tests::programs::repository;
use std::fs;
use std::path::Path;

/// Suites as SECURITY.md names them, and where their tests lie.
const SUITES: [(&str, &str); 10] = [
    ("attack", "tests/attack"),
    ("calibration", "tests/attack"),
    ("inside", "tests/inside"),
    ("limits", "tests/limits"),
    ("crash", "tests/crash"),
    ("contract", "tests/contract"),
    ("images", "tests/images"),
    ("tenants", "tests/tenants"),
    ("rootfs", "rootfs/tests"),
    ("sys", "runtime/sys/src"),
];

/// All Rust texts below a directory.
fn texts(directory: &Path) -> String {
    let entries = fs::read_dir(directory).expect("a directory of a suite").flatten();
    let one = |path: &Path| match path.extension() {
        _ if path.is_dir() => texts(path),
        Some(extension) if extension == "rs" => fs::read_to_string(path).expect("a source is UTF-8"),
        _ => String::new(),
    };
    entries.map(|entry| one(&entry.path())).collect()
}

#[test]
fn every_test_that_backs_a_claim_exists() {
    let page = fs::read_to_string(repository().join("SECURITY.md")).expect("SECURITY.md");
    let mut found = 0;
    for name in page.split('`').filter(|word| !word.contains([' ', '\n', '/'])) {
        let Some((suite, test)) = name.split_once("::") else { continue };
        let place = SUITES.iter().find(|(known, _)| *known == suite);
        let Some((_, directory)) = place else {
            assert_eq!(name, "suite::name", "no such suite");
            continue;
        };
        let all = texts(&repository().join(directory));
        assert!(all.contains(&format!("#[test]\nfn {test}()")), "SECURITY.md names {name}");
        found += 1;
    }
    assert!(found > 50, "only {found} tests were found in SECURITY.md");
}
