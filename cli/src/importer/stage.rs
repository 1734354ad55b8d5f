//! The parts of an import that are done in processes of their own, each the first of a pid namespace: what is taken over
//! in there sees nobody, and ends with it.

use super::Order;
use super::confine::{self, Reach};
use anyhow::Context;
use bulkhead_protocol::image::ImportProgress;
use bulkhead_rootfs::Places;
use bulkhead_rootfs::import::{Failure, Given, Job, Layers, Outcome, Progress, assemble, unpack};
use bulkhead_sys::call::exec::{Strings, namespace};
use bulkhead_sys::fd;
use bulkhead_sys::op::Op;
use bulkhead_sys::pidfd::{self, Exit};
use bulkhead_sys::spawn;
use clap::ValueEnum;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Where a stage finds the user namespace that it is to enter.
const OWNERS: i32 = 3;

/// A part of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Stage {
    /// Read the source and unpack what the store lacks.
    Unpack,
    /// Put the layers together.
    Assemble,
}

impl Stage {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Unpack => "unpack",
            Self::Assemble => "assemble",
        }
    }

    /// Starts it, as whom `owners` has for root, and waits for its end.
    pub(super) fn start(self, order: &Order, owners: BorrowedFd<'_>) -> anyhow::Result<Exit> {
        let images = order.images.to_str().context("the path of the store")?;
        let words = ["bulkhead", "importer", "--images", images, "--job", &order.job, "--stage", self.word()];
        let most = order.most.map(|bytes| format!("--most={bytes}"));
        let owner = order.owner.as_ref().map(|owner| format!("--owner={owner}"));
        let words = words.into_iter().chain(most.iter().chain(&owner).map(String::as_str));
        let environment = std::env::vars().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
        let envp = Strings::of_words(environment.iter().map(String::as_str)).context("the environment")?;
        let argv = Strings::of_words(words).context("the arguments")?;
        let owners = fd::high(&owners)?;
        let place = Op::Place(owners.as_fd(), OWNERS);
        let mut ops = vec![Op::DieWithParent, place, Op::CloseOnExecFrom(OWNERS + 1)];
        if self == Self::Assemble {
            ops.push(Op::OpenAt(c"/dev/null".to_owned(), 0));
        }
        ops.push(Op::ExecutePath { programs: vec![(c"/proc/self/exe".to_owned(), argv)], envp });
        let process = spawn::execute(&ops, namespace::PID, None)?;
        Ok(pidfd::wait(process.as_fd())?)
    }

    /// Opens what it needs, gives up every other right, and begins.
    pub(super) fn run(self, order: &Order, places: &Places, job: &Job) -> anyhow::Result<Outcome> {
        let owners = fd::inherited(OWNERS).context("take the user namespace")?;
        let layers = places.open_layers()?;
        let reach = Reach { job: places.open_job(&order.job)?, layers: layers.try_clone()?, owners };
        let mut progress = Progress::new(std::io::stdout().as_fd().try_clone_to_owned()?);
        let layers = Layers::new(layers, order.owner.clone());
        let done = match self {
            Self::Unpack => {
                let given = match Given::open(stdin()?) {
                    Ok(given) => given,
                    Err(failure) => return Ok(refused(&progress, failure)),
                };
                confine::unpack(reach)?;
                unpack(job, &layers, given, &mut progress)
            }
            Self::Assemble => {
                confine::assemble(reach)?;
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
