//! Who may depend on whom, where packages come from, and under which licences.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// Each crate of the workspace and the others that it may use. Dependencies point one way.
const EDGES: &[(&str, &[&str])] = &[
    ("bulkhead-protocol", &[]),
    ("bulkhead-failpoint", &[]),
    ("bulkhead-sys", &[]),
    ("bulkhead-rootfs", &["bulkhead-protocol", "bulkhead-sys"]),
    ("bulkhead-runtime", &["bulkhead-sys", "bulkhead-protocol", "bulkhead-failpoint"]),
    ("bulkhead-agent", &["bulkhead-sys", "bulkhead-protocol"]),
    ("bulkhead-fetch", &[]),
    ("bulkhead-gateway", &["bulkhead-protocol", "bulkhead-failpoint"]),
    (
        "bulkhead",
        &[
            "bulkhead-fetch",
            "bulkhead-gateway",
            "bulkhead-runtime",
            "bulkhead-rootfs",
            "bulkhead-protocol",
            "bulkhead-sys",
        ],
    ),
    ("bulkhead-tests", &["bulkhead-protocol", "bulkhead-inner", "bulkhead-failpoint"]),
    ("bulkhead-inner", &[]),
    ("bulkhead-bench", &[]),
];

/// What must not be in the privileged process: it has no network, no HTTP and no async runtime.
const NOT_IN_RUNTIME: &[&str] = &["tokio", "hyper", "axum", "reqwest", "ureq", "async-std", "smol"];

fn metadata() -> Metadata {
    let manifest = bulkhead_tests::programs::repository().join("Cargo.toml");
    MetadataCommand::new()
        .manifest_path(manifest)
        .other_options(vec!["--locked".to_owned()])
        .exec()
        .expect("cargo metadata")
}

/// Names of what `package` depends on outside of its tests.
fn used_by(package: &Package) -> BTreeSet<&str> {
    let wanted = package.dependencies.iter().filter(|d| d.kind != DependencyKind::Development);
    wanted.map(|d| d.name.as_str()).collect()
}

#[test]
fn dependencies_between_our_crates_point_one_way() {
    let metadata = metadata();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.iter().copied().collect();
    let ours = metadata.workspace_packages();
    let names: BTreeSet<&str> = ours.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, allowed.keys().copied().collect(), "a new crate needs a line in EDGES");
    for package in &ours {
        let may = allowed[package.name.as_str()];
        for used in used_by(package).intersection(&names) {
            assert!(may.contains(used), "{} must not depend on {used}", package.name);
        }
    }
}

#[test]
fn the_protocol_needs_serde_and_nothing_else() {
    let metadata = metadata();
    let protocol =
        metadata.packages.iter().find(|p| p.name.as_str() == "bulkhead-protocol").expect("it exists");
    assert_eq!(used_by(protocol), BTreeSet::from(["serde"]));
}

#[test]
fn the_runtime_has_neither_http_nor_an_async_runtime() {
    let metadata = metadata();
    for name in ["bulkhead-runtime", "bulkhead-rootfs", "bulkhead-sys"] {
        let package = metadata.packages.iter().find(|p| p.name.as_str() == name).expect("it exists");
        for banned in NOT_IN_RUNTIME {
            assert!(!used_by(package).contains(banned), "{name} must not depend on {banned}");
        }
    }
}

#[test]
fn every_package_comes_from_the_official_registry() {
    for package in metadata().packages {
        match &package.source {
            None => assert!(package.name.starts_with("bulkhead"), "{} has no source", package.name),
            Some(source) => assert!(source.is_crates_io(), "{} comes from {source}", package.name),
        }
    }
}

#[test]
fn no_banned_package_is_linked() {
    let banned = listed("deny = [", "crate = ");
    assert!(banned.contains("openssl-sys"), "deny.toml was not understood: {banned:?}");
    for package in metadata().packages {
        assert!(!banned.contains(package.name.as_str()), "{} is banned by deny.toml", package.name);
    }
}

#[test]
fn every_licence_is_on_the_list() {
    let allowed = listed("allow = [", "");
    assert!(allowed.contains("MIT"), "deny.toml was not understood: {allowed:?}");
    for package in metadata().packages {
        let licence = package.license.as_deref().unwrap_or("none");
        assert!(acceptable(licence, &allowed), "{} has licence {licence}", package.name);
    }
}

/// Quoted words of one list of deny.toml; with `key`, only the word after it on each line.
fn listed(start: &str, key: &str) -> BTreeSet<String> {
    let path = bulkhead_tests::programs::repository().join("deny.toml");
    let text = fs::read_to_string(path).expect("deny.toml");
    let inside = text.lines().skip_while(|line| line.trim() != start).skip(1);
    let lines = inside.take_while(|line| line.trim() != "]");
    lines.filter_map(|line| line.split_once(key)?.1.split('"').nth(1).map(str::to_owned)).collect()
}

/// An SPDX expression, as far as packages use it: `OR` (also spelled `/`), `AND`, parentheses around either.
fn acceptable(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ");
    let (mut depth, mut parts, mut words) = (0_usize, Vec::new(), Vec::new());
    for word in expression.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
        match word {
            "(" => depth += 1,
            ")" => depth -= 1,
            "AND" if depth == 0 => {
                parts.push(std::mem::take(&mut words));
                continue;
            }
            _ => {}
        }
        words.push(word.to_owned());
    }
    parts.push(words);
    let alternatives = |part: &[String]| {
        let text = part.join(" ").replace(['(', ')'], " ");
        text.split(" OR ").any(|one| one.split(" AND ").all(|id| allowed.contains(id.trim())))
    };
    parts.iter().all(|part| alternatives(part))
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"].map(str::to_owned));
    for good in
        ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-2.0) AND Unicode-3.0", "MIT AND Apache-2.0"]
    {
        assert!(acceptable(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-2.0", "(GPL-2.0 OR LGPL-2.1) AND MIT", "none"] {
        assert!(!acceptable(bad, &allowed), "{bad}");
    }
}
