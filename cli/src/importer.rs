//! `bulkhead importer`: makes an image of what its standard input is, and tells its standard output how that goes.
//! Started by the runtime, once for each import.
//!
//! This process reads nothing that a stranger wrote. It starts two that are confined, one after the other ([`stage`]);
//! then it moves what they made into the store.

mod confine;
mod stage;

use crate::process::NoRoom;
use anyhow::{Context, anyhow, bail};
use bulkhead_protocol::image::EXIT_NO_ROOM;
use bulkhead_rootfs::Places;
use bulkhead_rootfs::host::Room;
use bulkhead_rootfs::import::{Failure, Job, Outcome, publish};
use bulkhead_sys::pidfd::Exit;
use clap::Args;
use stage::Stage;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The store of images.
    #[arg(long)]
    images: PathBuf,
    /// Name of the job, whose directory is there.
    #[arg(long)]
    job: String,
    /// Bytes that the image may have, where its owner has a ceiling.
    #[arg(long)]
    most: Option<u64>,
    /// The organisation that alone shall have what is made; everybody where none is said.
    #[arg(long)]
    owner: Option<String>,
    /// Process number of who started this one, and whose end ends it; a stage cannot see it.
    #[arg(long)]
    parent: Option<i32>,
    /// What to do; everything where it is not said.
    #[arg(long)]
    stage: Option<Stage>,
}

pub(crate) fn run(order: &Order) -> anyhow::Result<()> {
    #[cfg(feature = "weaken")]
    bulkhead_runtime::weaken::read_environment()?;
    let places = Places::open(&order.images)?;
    let job = Job::new(places.open_job(&order.job)?)
        .leaving(promised(&order.images))
        .at_most(order.most)
        .owned_by(order.owner.clone());
    let done = match order.stage {
        None => import(order, &places, &job)?,
        Some(stage) => stage.run(order, &places, &job)?,
    };
    match done {
        Ok(()) => Ok(()),
        // What is said in a file needs room as well.
        Err(Failure::NoRoom) => Err(anyhow!("import {}", order.job).context(NoRoom)),
        Err(failure) => {
            job.fail(&failure).context("say why")?;
            bail!("import {}: {failure}", order.job);
        }
    }
}

/// What the volume of disks may still take from the disk that images lie on: a tenant's import must not take it first, or
/// disks of others fail.
fn promised(images: &Path) -> u64 {
    let state_dir = images.parent().unwrap_or(images);
    Room::of(state_dir).for_disks()
}

/// All of it; whichever stage fails has said why.
fn import(order: &Order, places: &Places, job: &Job) -> anyhow::Result<Outcome> {
    let owners = confine::neutral_owners()?;
    // A runtime that is killed while it has the id of a sandbox may not signal a process of root's: nothing goes on for
    // one that is gone.
    let somebody_waits = || crate::process::die_with(order.parent);
    for stage in [Stage::Unpack, Stage::Assemble] {
        somebody_waits()?;
        let exit = stage.start(order, owners.as_fd()).context("start a stage of the import")?;
        let silent = || Failure::Other(format!("the stage {} ended with {exit:?}", stage.word()));
        match exit {
            Exit::Code(0) => {}
            Exit::Code(EXIT_NO_ROOM) => return Ok(Err(Failure::NoRoom)),
            _ => return Ok(Err(job.failure().unwrap_or_else(silent))),
        }
    }
    somebody_waits()?;
    Ok(publish(places, job))
}
