//! The second step of an import: one tree from all layers, so that a sandbox has one lower layer whatever the image.
//!
//! Files are hard links to those of the layers: an image costs its directories, and its data is in the page cache
//! once, whoever reads it. Directories are the tree's own.

use super::attributes;
use super::changes::{Change, Changes};
use super::digest::Digest;
use super::failure::{Failure, Outcome, Step};
use super::job::{self, Job, Layers};
use super::limits;
use super::place::{self, Place, kind};
use super::provide::provide;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::unistd::linkat;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Puts the layers of the job's image together, and writes all of it to the disk.
///
/// # Errors
/// The first step that failed.
pub fn assemble(job: &Job, layers: &Layers) -> Outcome {
    let image = job.image()?;
    let tree = job::make_directory(job.directory(), job::TREE, 0o755)?;
    for diff_id in &image.diff_ids {
        add(find(job, layers, &Digest::parse(diff_id)?)?.as_fd(), tree.as_fd())?;
    }
    provide(&tree, &image.defaults)?;
    // Before anything of it can be found by its name.
    nix::unistd::syncfs(job.directory()).step("syncfs", b"store")
}

/// One that was unpacked just now, or that the store has.
fn find(job: &Job, layers: &Layers, diff_id: &Digest) -> Outcome<OwnedFd> {
    let unpacked = job::directory(job.directory(), job::LAYERS)?;
    let found = match unpacked {
        Some(unpacked) => job::directory(unpacked.as_fd(), diff_id.hex())?,
        None => None,
    };
    match found {
        Some(found) => Ok(found),
        None => layers.find(diff_id)?.ok_or_else(|| Failure::Other(format!("no layer {}", diff_id.as_str()))),
    }
}

/// What a layer takes away goes first: it means what was there before.
fn add(layer: BorrowedFd<'_>, tree: BorrowedFd<'_>) -> Outcome {
    let changes = job::read(layer, job::CHANGES, 2 * limits::KEPT_PATHS as u64)?;
    let mut place = Place::new(tree.try_clone_to_owned().step("dup", b"tree")?);
    for change in Changes::parse(&changes)?.all {
        match change {
            Change::Remove(path) => place.remove(&path)?,
            Change::Empty(path) => {
                if let Some(found) = place.find(&path)? {
                    place::empty(found.as_fd())?;
                }
            }
        }
    }
    match job::directory(layer, job::ROOT)? {
        Some(root) => merge(root, tree.try_clone_to_owned().step("dup", b"tree")?),
        None => Err(Failure::Other("a layer has no files".to_owned())),
    }
}

/// Everything of one directory into another; as deep as a path of a layer may be.
fn merge(from: OwnedFd, into: OwnedFd) -> Outcome {
    for name in place::names(from.as_fd())? {
        let Some(found) = place::look(from.as_fd(), &name)? else { continue };
        if kind(&found) == SFlag::S_IFDIR {
            let inner = openat(&from, name.as_slice(), DIRECTORY, Mode::empty()).step("openat", &name)?;
            merge(inner, directory(into.as_fd(), &name)?)?;
        } else {
            link(from.as_fd(), into.as_fd(), &name)?;
        }
    }
    attributes::copy(&File::from(from), &File::from(into))
}

fn directory(parent: BorrowedFd<'_>, name: &[u8]) -> Outcome<OwnedFd> {
    match mkdirat(parent, name, Mode::S_IRWXU) {
        Err(Errno::EEXIST) => {
            if place::look(parent, name)?.is_none_or(|found| kind(&found) != SFlag::S_IFDIR) {
                place::remove(parent, name)?;
                mkdirat(parent, name, Mode::S_IRWXU).step("mkdirat", name)?;
            }
        }
        made => made.step("mkdirat", name)?,
    }
    openat(parent, name, DIRECTORY, Mode::empty()).step("openat", name)
}

fn link(from: BorrowedFd<'_>, into: BorrowedFd<'_>, name: &[u8]) -> Outcome {
    let link = || linkat(from, name, into, name, AtFlags::empty());
    match link() {
        Err(Errno::EEXIST) => {
            place::remove(into, name)?;
            link().step("linkat", name)
        }
        done => done.step("linkat", name),
    }
}
