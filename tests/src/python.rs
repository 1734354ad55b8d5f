//! Python on the host side: programs that tests run *inside*, and the virtual environment of the SDK suite.

use crate::programs::repository;
use std::path::PathBuf;

/// Environment variable with the Python of a virtual environment in which `voidrun` is installed.
pub const SDK_PYTHON_ENV: &str = "BULKHEAD_SDK_PYTHON";

/// What programs inside may use: `call(name, *args)` makes a system call by number and gives back `0` or the
/// name of the error; `attempt(function)` does the same for a Python function.
pub const PRELUDE: &str = include_str!("python/prelude.py");

/// A program that starts with [`PRELUDE`].
#[must_use]
pub fn with_prelude(program: &str) -> String {
    format!("{PRELUDE}\n{program}")
}

/// The Python that has the SDK; `scripts/test sdk` makes it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn sdk_python() -> PathBuf {
    let path = std::env::var_os(SDK_PYTHON_ENV)
        .map_or_else(|| repository().join("target/sdk-venv/bin/python"), PathBuf::from);
    assert!(path.is_file(), "{} is missing: run scripts/test sdk", path.display());
    path
}
