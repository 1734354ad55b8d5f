//! Terminals over HTTP and WebSocket: routes 26 to 33 of the contract.

mod ends;
mod frames;
mod hostile;
mod replay;
mod shell;
mod slow;
mod table;
mod upgrade;

use bulkhead_tests::{Sandbox, eventually};

/// A well-formed id that names nothing.
const UNKNOWN_ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Waits until no process of the sandbox has the marker in its command line, seen from the host.
fn assert_gone(sandbox: &Sandbox<'_>, marker: &str) {
    eventually("every descendant is gone", || {
        let inside = sandbox.processes();
        let left: Vec<_> = inside.iter().filter(|p| p.command.contains(marker)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

/// Clients that the list shows at a session; `None` when it is not listed.
fn clients(sandbox: &Sandbox<'_>, session: &str) -> Option<u64> {
    let rows = sandbox.sessions();
    let row = rows.iter().find(|row| row["id"] == session)?;
    Some(row["clients"].as_u64().unwrap_or_else(|| panic!("clients in {row}")))
}

/// Waits until the list shows so many clients.
fn wait_for_clients(sandbox: &Sandbox<'_>, session: &str, many: u64) {
    eventually("the clients are counted", || match clients(sandbox, session) {
        Some(now) if now == many => Ok(()),
        other => Err(format!("{other:?}, not {many}")),
    });
}
