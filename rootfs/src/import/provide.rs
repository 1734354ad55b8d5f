//! What a sandbox needs of its root and an image may lack: places of mounts, as plain directories and files, since a
//! launch follows no link to them, and what programs rely on.

use super::attributes::Attributes;
use super::failure::{Outcome, Step};
use super::place::{Path, Place, kind, look};
use crate::accounts;
use bulkhead_protocol::image::ImageDefaults;
use nix::sys::stat::SFlag;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// Directories with a mode for those that are missing. What is of another kind goes.
const DIRECTORIES: [(&str, u32); 8] = [
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("run", 0o755),
    ("root", 0o700),
    ("etc", 0o755),
    ("var", 0o755),
];
/// Each sandbox has its own over these, or nothing is in them.
const PLACES: [&str; 3] = ["etc/hostname", "etc/hosts", "etc/resolv.conf"];
/// Where an image has bash, if it has one.
const BASH: [&str; 2] = ["bin", "usr/bin"];

pub(crate) fn provide(tree: &OwnedFd, defaults: &ImageDefaults) -> Outcome {
    let mut place = Place::new(tree.try_clone().step("dup", b"tree")?);
    for (name, mode) in DIRECTORIES {
        directory(&mut place, &Path::parse(name.as_bytes())?, mode)?;
    }
    // One that links to another directory for temporary files may go on doing so.
    let temporary = Path::parse(b"var/tmp")?;
    if found(&place, &temporary)?.is_none() {
        directory(&mut place, &temporary, 0o1777)?;
    }
    for name in PLACES {
        file(&mut place, name, "")?;
    }
    let shell = if has_bash(&place)? { "/bin/bash" } else { "/bin/sh" };
    file(&mut place, "etc/passwd", &accounts::passwd(shell))?;
    file(&mut place, "etc/group", accounts::GROUP)?;
    working_dir(&mut place, defaults)
}

/// Takes one that is there as it is.
fn directory(place: &mut Place, path: &Path, mode: u32) -> Outcome {
    if found(place, path)? == Some(SFlag::S_IFDIR) {
        return Ok(());
    }
    let made = File::from(place.directory(path)?);
    Attributes::ours(mode).put_on_directory(&made, path.bytes())
}

fn file(place: &mut Place, name: &str, text: &str) -> Outcome {
    let path = Path::parse(name.as_bytes())?;
    if found(place, &path)? == Some(SFlag::S_IFREG) {
        return Ok(());
    }
    let mut made = place.file(&path)?;
    made.write_all(text.as_bytes()).step("write", path.bytes())?;
    Attributes::ours(0o644).put_on_file(&made, path.bytes())
}

fn found(place: &Place, path: &Path) -> Outcome<Option<SFlag>> {
    let (parent, name) = path.split();
    match place.find(&parent)? {
        Some(parent) => Ok(look(parent.as_fd(), name)?.map(|stat| kind(&stat))),
        None => Ok(None),
    }
}

fn has_bash(place: &Place) -> Outcome<bool> {
    for directory in BASH {
        if found(place, &Path::parse(directory.as_bytes())?.below(b"bash"))?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Made as far as it leads through directories; where a link is in the way, what it means inside is not known here.
fn working_dir(place: &mut Place, defaults: &ImageDefaults) -> Outcome {
    let Some(text) = defaults.working_dir.as_deref() else { return Ok(()) };
    let mut path = Path::parse(b".")?;
    for step in text.split('/').filter(|step| !step.is_empty()) {
        path = Path::parse(path.below(step.as_bytes()).bytes())?;
        match found(place, &path)? {
            Some(SFlag::S_IFDIR) => {}
            Some(_) => return Ok(()),
            None => directory(place, &path, 0o755)?,
        }
    }
    Ok(())
}
