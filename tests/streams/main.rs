//! Streams and background commands by plain HTTP: routes 18 to 25 of the contract, with our extensions.

mod arrival;
mod background;
mod bounds;
mod detached;
mod exact;
mod framing;
mod gone;
mod idempotency;
mod input;
mod keep_alive;
mod receipts;
mod refusals;
mod replay;
mod resume;
mod sessions;
mod slow;
mod trees;
mod users;

use bulkhead_tests::{Client, Sandbox, Server, eventually};

/// A well-formed id that names nothing.
const UNKNOWN_ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A script that writes exactly these bytes with one `write(2)`, to descriptor 1 or 2.
fn write_once(descriptor: u8, bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("python3 -c 'import os; os.write({descriptor}, bytes.fromhex(\"{hex}\"))'")
}

/// Waits until no process of the sandbox has the marker in its command line, seen from the host.
fn assert_gone(sandbox: &Sandbox<'_>, marker: &str) {
    eventually("every descendant is gone", || {
        let inside = sandbox.processes();
        let left: Vec<_> = inside.iter().filter(|p| p.command.contains(marker)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
}

/// Waits until `many` processes of the sandbox have the marker in their command line.
fn wait_for(sandbox: &Sandbox<'_>, marker: &str, many: usize) {
    eventually("the processes run", || {
        let there = sandbox.processes().iter().filter(|p| p.command.contains(marker)).count();
        if there >= many { Ok(()) } else { Err(format!("{there} of {many}")) }
    });
}

/// A client of an organisation of its own.
fn stranger(server: &Server) -> Client {
    let made = server.command(&["org", "create", "other"]);
    assert!(made.status.success(), "org create: {made:?}");
    let key = server.command(&["key", "create", "--org", "other"]);
    assert!(key.status.success(), "key create: {key:?}");
    server.client().with_key(String::from_utf8(key.stdout).expect("a key is ASCII").trim())
}
