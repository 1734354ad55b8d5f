//! Whether there is room for what the gateway writes: its database and its audit log. Without it nothing that must be
//! remembered can be accepted, and the operator is told, once.

use crate::app::App;
use crate::limits;
use nix::sys::statvfs::statvfs;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::time::{MissedTickBehavior, interval};

/// The file system of the state directory.
#[derive(Debug)]
pub(crate) struct Disk {
    dir: PathBuf,
    was_full: AtomicBool,
}

impl Disk {
    pub(crate) fn of(dir: PathBuf) -> Self {
        Self { dir, was_full: AtomicBool::new(false) }
    }

    /// Looks, and says in the log when it has changed. What cannot be read is not called full: a write will tell.
    pub(crate) fn is_full(&self) -> bool {
        let full = statvfs(&self.dir).is_ok_and(|seen| {
            let bytes = seen.blocks_available().saturating_mul(seen.fragment_size());
            // A file system that makes inodes as it goes counts none.
            bytes < limits::DISK_LEAST || seen.files() > 0 && seen.files_available() == 0
        });
        match (self.was_full.swap(full, Ordering::Relaxed), full) {
            (false, true) => {
                tracing::error!(dir = %self.dir.display(), "the disk of the state directory is full")
            }
            (true, false) => {
                tracing::info!(dir = %self.dir.display(), "the disk of the state directory has room again")
            }
            (false, false) | (true, true) => {}
        }
        full
    }
}

/// Looks for ever, so that the log says it also where nobody asks for health.
pub(crate) async fn watch(app: Arc<App>) -> Infallible {
    let mut ticks = interval(limits::DISK_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.disk.is_full();
    }
}
