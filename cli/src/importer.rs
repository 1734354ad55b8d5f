//! `bulkhead importer`: makes an image of what its standard input is, and tells its standard output how that goes.
//! Started by the runtime, once for each import.
//!
//! This process reads nothing that a stranger wrote. It starts two that are confined, one after the other: the first
//! reads the source, the second puts layers together; then it moves what they made into the store.

mod confine;

use anyhow::{Context, bail};
use bulkhead_protocol::image::ImportProgress;
use bulkhead_rootfs::Places;
use bulkhead_rootfs::host::Room;
use bulkhead_rootfs::import::{Failure, Given, Job, Layers, Outcome, Progress, assemble, publish, unpack};
use clap::{Args, ValueEnum};
use confine::Reach;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The store of images.
    #[arg(long)]
    images: PathBuf,
    /// Name of the job, whose directory is there.
    #[arg(long)]
    job: String,
    /// Process number of who started this one, and whose end ends it.
    #[arg(long)]
    parent: i32,
    /// What to do; everything where it is not said.
    #[arg(long)]
    stage: Option<Stage>,
}

/// A part of an import that is done in a process of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// Read the source and unpack what the store lacks.
    Unpack,
    /// Put the layers together.
    Assemble,
}

pub(crate) fn run(order: &Order) -> anyhow::Result<()> {
    let places = Places::open(&order.images)?;
    let job = Job::new(places.open_job(&order.job)?).leaving(promised(&order.images));
    let done = match order.stage {
        None => {
            crate::process::die_with(Some(order.parent))?;
            import(order, &places, &job)?
        }
        Some(stage) => stage.run(order, &places, &job)?,
    };
    if let Err(failure) = done {
        job.fail(&failure).context("say why")?;
        bail!("import {}: {failure}", order.job);
    }
    Ok(())
}

/// What the volume of disks may still take from the disk that images lie on: a tenant's import must not take it first, or
/// disks of others fail.
fn promised(images: &Path) -> u64 {
    let state_dir = images.parent().unwrap_or(images);
    Room::of(state_dir).for_disks()
}

/// All of it; whichever stage fails has said why.
fn import(order: &Order, places: &Places, job: &Job) -> anyhow::Result<Outcome> {
    for stage in [Stage::Unpack, Stage::Assemble] {
        let status = command(order, stage)?.status().context("start a stage of the import")?;
        if !status.success() {
            let silent = || Failure::Other(format!("the stage {stage:?} ended with {status}"));
            return Ok(Err(job.failure().unwrap_or_else(silent)));
        }
    }
    Ok(publish(places, job))
}

fn command(order: &Order, stage: Stage) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    let name = match stage {
        Stage::Unpack => "unpack",
        Stage::Assemble => {
            command.stdin(Stdio::null());
            "assemble"
        }
    };
    command.arg("importer").arg("--images").arg(&order.images).args(["--job", &order.job, "--stage", name]);
    command.arg("--parent").arg(std::process::id().to_string());
    Ok(command)
}

impl Stage {
    /// Opens what it needs, gives up every other right, and begins.
    fn run(self, order: &Order, places: &Places, job: &Job) -> anyhow::Result<Outcome> {
        let layers = places.open_layers()?;
        let reach = Reach { job: places.open_job(&order.job)?, layers: layers.try_clone()? };
        let mut progress = Progress::new(std::io::stdout().as_fd().try_clone_to_owned()?);
        let layers = Layers::new(layers);
        let done = match self {
            Self::Unpack => {
                let given = match Given::open(stdin()?) {
                    Ok(given) => given,
                    Err(failure) => return Ok(refused(&progress, failure)),
                };
                confine::unpack(&reach, order.parent)?;
                unpack(job, &layers, given, &mut progress)
            }
            Self::Assemble => {
                confine::assemble(&reach, order.parent)?;
                progress.tell(&ImportProgress::Assembling);
                assemble(job, &layers)
            }
        };
        Ok(done.or_else(|failure| refused(&progress, failure)))
    }
}

/// Who gave the source is told as well.
fn refused(progress: &Progress, failure: Failure) -> Outcome {
    if let Failure::Refused(text) = &failure {
        progress.tell(&ImportProgress::Refused(text.clone()));
    }
    Err(failure)
}

fn stdin() -> anyhow::Result<OwnedFd> {
    std::io::stdin().as_fd().try_clone_to_owned().context("take the source")
}
