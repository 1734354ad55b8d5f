//! `bulkhead purge`: removes everything that an instance owns.

use anyhow::{Context, bail};
use bulkhead_rootfs::volume;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What an instance makes in its state directory.
const STATE: [&str; 9] =
    ["api-key", "cgroup-parent", "fetch", "gateway", "images", volume::FILE, volume::HALF, "run-dir", "lock"];
/// What an instance makes in its run directory.
const RUN: [&str; 6] = ["gateway", "intents", "mounts", "instance", "runtime.sock", volume::MOUNT];
/// How long the kernel may take to let go of the mounts of sandboxes that were killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How much goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Processes, cgroups, mounts and the run directory; the state directory stays for the next start.
    WhatRuns,
    /// The state directory as well.
    Everything,
}

pub(crate) fn run(state_dir: &Path, extent: Extent) -> anyhow::Result<()> {
    if !state_dir.exists() {
        bail!("{} does not exist", state_dir.display());
    }
    let Some(run_dir) = run_dir_of(state_dir)? else {
        bail!("{} is no state directory", state_dir.display());
    };
    // Holds the lock until the end: no server may begin meanwhile.
    let _lock = bulkhead_runtime::purge::purge(state_dir).context("end all sandboxes")?;
    unmount(&run_dir)?;
    for name in RUN {
        remove(&run_dir.join(name))?;
    }
    if extent == Extent::WhatRuns {
        return leave(&run_dir);
    }
    for name in STATE {
        remove(&state_dir.join(name))?;
    }
    leave(&run_dir)?;
    leave(state_dir)
}

/// Removes a directory that is empty.
fn leave(directory: &Path) -> anyhow::Result<()> {
    match fs::remove_dir(directory) {
        // Somebody else's files, or already gone.
        Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => Ok(()),
        done => done.with_context(|| format!("remove {}", directory.display())),
    }
}

/// Where the instance runs, as its last server wrote it down.
pub(crate) fn run_dir_of(state_dir: &Path) -> anyhow::Result<Option<PathBuf>> {
    match fs::read_to_string(state_dir.join("run-dir")) {
        Ok(text) => Ok(Some(PathBuf::from(text.trim_end()))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("read the file run-dir of the state directory"),
    }
}

/// The disks go with the file that they lie in.
fn unmount(run_dir: &Path) -> anyhow::Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match volume::close(run_dir) {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error).context("unmount the disks"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Removes a file or a tree of our own; a missing one is fine. Links are removed, not followed.
fn remove(path: &Path) -> anyhow::Result<()> {
    let Ok(meta) = fs::symlink_metadata(path) else { return Ok(()) };
    let done = if meta.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    done.with_context(|| format!("remove {}", path.display()))
}
