//! Images over the wire: a real registry on this machine, filled by the tools that people use, and the product that
//! pulls from it.

mod fetch;
mod pull;

use bulkhead_tests::registry::run;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Regular files of a tree with their owner.
fn files(dir: &Path) -> Vec<PathBuf> {
    let found = run(Command::new("find").arg(dir).args(["-type", "f"]));
    String::from_utf8_lossy(&found.stdout).lines().map(PathBuf::from).collect()
}
