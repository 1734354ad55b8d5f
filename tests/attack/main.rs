//! Attempts to get out, to get more, or to see more, run through `exec`. Each test names its row of the attack
//! catalogue, and states the exact error that is the safe answer.
//!
//! Programs open files of the kernel for writing at most and never write: a hole is shown, not used.

mod agent;
mod archives;
mod base;
mod bombs;
mod catalogue;
mod churn;
mod controls;
mod escape;
mod filter;
mod hostile;
mod http;
mod importer;
mod leak;
mod neighbours;
mod ordinary;
mod privilege;
mod shared;
mod shipped;
mod shown;
mod transfers;

use bulkhead_tests::python::with_prelude;
use bulkhead_tests::{Sandbox, Server};
use serde_json::Value;

/// Runs a program (with the prelude before it) that prints an object `{what: "ok" or the error's name}`.
fn outcome(sandbox: &Sandbox<'_>, program: &str) -> Value {
    sandbox.python(&with_prelude(program))
}

/// Every value of the printed object must be one of `safe`.
fn assert_all(results: &Value, safe: &[&str]) {
    let rows = results.as_object().unwrap_or_else(|| panic!("no object: {results}"));
    assert!(!rows.is_empty(), "nothing was tried");
    let open: Vec<_> = rows.iter().filter(|(_, v)| !safe.contains(&v.as_str().unwrap_or("?"))).collect();
    assert!(open.is_empty(), "expected {safe:?}: {open:?}");
}

/// A canary of the host: what `path` holds now.
fn host_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn sandbox_of(server: &Server) -> Sandbox<'_> {
    server.create()
}
