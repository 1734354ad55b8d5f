//! What the program `probe` sees inside a sandbox, and how it gets there: through `exec`, as text.

use crate::programs;
use crate::sandbox::Sandbox;
use base64::Engine;
pub use bulkhead_inner::{MASKED, Mount, Report};
use bulkhead_protocol::agent::MAX_SCRIPT;
use std::io::Write;

/// Where it lies inside.
pub const PATH_INSIDE: &str = "/tmp/probe";

/// Brings the probe into a sandbox; once is enough for many [`report`]s.
///
/// # Panics
/// When a command of it fails.
pub fn install(sandbox: &Sandbox<'_>) {
    let program = std::fs::read(programs::probe()).expect("the probe is built");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(&program).expect("writes to memory");
    let packed = packer.finish().expect("writes to memory");
    let text = base64::engine::general_purpose::STANDARD.encode(packed);
    // A chunk of whole base64 groups, with room for the words around it.
    let chunk_len = (MAX_SCRIPT - 1000) / 4 * 4;
    for chunk in text.as_bytes().chunks(chunk_len) {
        let chunk = std::str::from_utf8(chunk).expect("base64 is ASCII");
        let _run = sandbox.exec(&format!("base64 -d >>{PATH_INSIDE}.gz <<E\n{chunk}\nE")).ok();
    }
    let _run = sandbox.exec(&format!("gzip -d {PATH_INSIDE}.gz && chmod 755 {PATH_INSIDE}")).ok();
}

/// Runs the installed probe by this shell word or words (`/tmp/probe`, `setpriv … /tmp/probe`).
///
/// # Panics
/// When it fails or prints anything but a report.
#[must_use]
pub fn report(sandbox: &Sandbox<'_>, how: &str) -> Report {
    let run = sandbox.exec(how).ok();
    serde_json::from_str(&run.stdout).unwrap_or_else(|e| panic!("{e}: {}", run.stdout))
}
