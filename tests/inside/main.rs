//! What a program inside sees, compared with what was asked for and with the host. The program is the static
//! `probe`, brought in through the API.

mod identity;
mod ipc;
mod isolation;
mod old_cgroups;
mod surroundings;
mod truth;

use bulkhead_tests::probe::{self, Report};
use bulkhead_tests::{Sandbox, Server};
use serde_json::json;

/// One report of a plain command in a sandbox with limits of its own.
fn look(server: &Server) -> (Sandbox<'_>, Report) {
    let sandbox = server.create_with(json!({
        "name": "looked-at",
        "envVars": {"GIVEN": "yes"},
        "limits": {"memoryMiB": 256, "pids": 100, "openFiles": 1000},
    }));
    probe::install(&sandbox);
    let report = probe::report(&sandbox, probe::PATH_INSIDE);
    (sandbox, report)
}
