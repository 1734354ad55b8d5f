//! `bulkhead grower`: keeps room in the volume of disks. Started by the runtime, and ends with it.

use crate::process;
use anyhow::Context;
use bulkhead_rootfs::volume::{Growth, Room};
use clap::Args;
use nix::sys::signal::SigSet;
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// After one that found no room or failed: what changes that takes longer.
const REST: Duration = Duration::from_secs(2);

/// Which volume.
#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The directory that its file lies in.
    #[arg(long)]
    state_dir: PathBuf,
    /// Where it is mounted.
    #[arg(long)]
    disks: PathBuf,
    /// Process number of the runtime.
    #[arg(long)]
    parent: i32,
}

pub(crate) fn run(order: &Order) -> anyhow::Result<()> {
    process::die_with(Some(order.parent))?;
    // An interrupt at a terminal reaches all: this one ends when the runtime does.
    SigSet::all().thread_block().context("block signals")?;
    let room = Room::of(&order.state_dir, &order.disks)?;
    // Each thing is said when it changes, not at each look.
    let mut last = Ok(Growth::Enough);
    // Looked at again each time: a runtime that is killed while it has the id of a sandbox may not signal a process of
    // root's, so its death alone does not end this one.
    while nix::unistd::getppid().as_raw() == order.parent {
        let now = room.grow().map_err(|error| format!("{:#}", anyhow::Error::new(error)));
        match &now {
            Ok(Growth::Grown(bytes)) => tracing::debug!("the volume of disks has {} MiB now", bytes >> 20),
            Ok(Growth::NoRoom) if now != last => {
                tracing::warn!("the volume of disks is nearly full, and its host has no more room for it");
            }
            Err(error) if now != last => tracing::error!("{error}"),
            _ => {}
        }
        let rest = if matches!(now, Ok(Growth::Enough | Growth::Grown(_))) { LOOK } else { REST };
        last = now;
        std::thread::sleep(rest);
    }
    Ok(())
}
