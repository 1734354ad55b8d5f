//! Python on the host side: programs that tests run *inside*, and the virtual environments of the suites.

use crate::programs::repository;
use std::path::PathBuf;

/// Environment variable with the Python of a virtual environment in which `voidrun` is installed.
pub const SDK_PYTHON_ENV: &str = "BULKHEAD_SDK_PYTHON";

/// Environment variable with the program `schemathesis`.
pub const SCHEMATHESIS_ENV: &str = "BULKHEAD_SCHEMATHESIS";

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
    installed(SDK_PYTHON_ENV, "target/sdk-venv/bin/python", "sdk")
}

/// The fuzzer of the API; `scripts/test contract` installs it.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn schemathesis() -> PathBuf {
    installed(SCHEMATHESIS_ENV, "target/schemathesis-venv/bin/schemathesis", "contract")
}

fn installed(variable: &str, path: &str, suite: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| repository().join(path), PathBuf::from);
    assert!(path.is_file(), "{} is missing: run scripts/test {suite}", path.display());
    path
}
