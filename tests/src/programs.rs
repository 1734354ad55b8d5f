//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// Environment variable with the directory of `bulkhead` and `bulkhead-agent`; without it `dist/bin`.
pub const BIN_DIR_ENV: &str = "BULKHEAD_BIN_DIR";

/// The root of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the workspace")
}

/// The directory of the programs under test.
#[must_use]
pub fn programs() -> PathBuf {
    std::env::var_os(BIN_DIR_ENV).map_or_else(|| repository().join("dist/bin"), PathBuf::from)
}

/// The program `name` as `scripts/build` leaves it.
///
/// # Panics
/// When it is not there: a suite that cannot run fails.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let path = programs().join(name);
    assert!(path.is_file(), "{} is missing: run scripts/build", path.display());
    path
}

/// The directory of the programs that walls can be taken away from.
///
/// # Panics
/// When it is not there: a negative control that cannot run fails.
#[must_use]
pub fn weakened_programs() -> PathBuf {
    let path = repository().join("target/weakened");
    assert!(path.join("bulkhead").is_file(), "{} is missing: scripts/test attacks builds it", path.display());
    path
}

/// The static program that looks around inside a sandbox; `scripts/test` builds it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn probe() -> PathBuf {
    built("probe")
}

/// The agent that does everything wrong, to be given to `serve --agent`; `scripts/test` builds it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn hostile_agent() -> PathBuf {
    built("hostile")
}

fn built(name: &str) -> PathBuf {
    let path = repository().join("target").join(name);
    assert!(path.is_file(), "{} is missing: scripts/test builds it", path.display());
    path
}
