//! `bulkhead image pull`: has an image fetched by a process without rights, then hands it over as any other import.
//! What broke off stays, and the next pull of the same reference goes on with it.

use super::meter::Meter;
use super::{connect, image_name, import};
use crate::args::{Source, StateDir};
use crate::client;
use crate::fetch::usual_uid;
use anyhow::{Context, anyhow, bail};
use bulkhead_fetch::{Digest, Progress, Reference, SILENCE};
use bulkhead_protocol::image::ImageName;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// Where in the state directory images lie that are being fetched.
pub(crate) const DIR: &str = "fetch";
/// Of the digest of a reference, as much as names its directory.
const NAME: usize = 24;

pub(super) fn pull(
    state: &StateDir,
    reference: &str,
    name: Option<&str>,
    source: &Source,
) -> anyhow::Result<()> {
    let reference = Reference::parse(reference).with_context(|| reference.to_owned())?;
    let name = match name {
        Some(name) => image_name(name)?,
        None => named_by(&reference)?,
    };
    let mut runtime = connect(state)?;
    let dir = directory(&state.state_dir, &reference)?;
    let held = File::open(&dir).with_context(|| format!("open {}", dir.display()))?;
    let held = Flock::lock(held, FlockArg::LockExclusiveNonblock)
        .map_err(|(_, errno)| anyhow!(errno).context("this image is being pulled already"))?;
    fetch(&reference, &dir, source)?;
    let layout = File::open(&dir).with_context(|| format!("open {}", dir.display()))?;
    let imported = import(&mut runtime, name, layout);
    // It is whole: keeping it would help no later attempt but one with a broken importer.
    fs::remove_dir_all(&dir).with_context(|| format!("remove {}", dir.display()))?;
    drop(held);
    imported
}

/// The repository without its registry, and the tag.
fn named_by(reference: &Reference) -> anyhow::Result<ImageName> {
    image_name(&format!("{}:{}", reference.repository(), reference.tag())).context("say --name")
}

/// The directory of a reference, which belongs to who fetches; nobody else comes through the one above it.
fn directory(state_dir: &Path, reference: &Reference) -> anyhow::Result<PathBuf> {
    let above = state_dir.join(DIR);
    make(&above, 0o700)?;
    let dir = above.join(&Digest::of(reference.to_string().as_bytes()).hex()[..NAME]);
    make(&dir, 0o755)?;
    let uid = usual_uid()?;
    chown(&dir, Some(uid), Some(uid)).with_context(|| format!("give {} away", dir.display()))?;
    Ok(dir)
}

fn make(dir: &Path, mode: u32) -> anyhow::Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("make {}", dir.display()))
        }
        _ => Ok(()),
    }
}

/// Runs the fetch and shows how far it is.
fn fetch(reference: &Reference, dir: &Path, source: &Source) -> anyhow::Result<()> {
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.arg("fetch").arg(reference.to_string()).arg("--to").arg(dir);
    command.arg("--parent").arg(std::process::id().to_string());
    if source.insecure_http {
        command.arg("--insecure-http");
    }
    if let Some(file) = &source.auth_file {
        command.arg("--auth-file").arg(std::path::absolute(file)?);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("start the fetch")?;
    let mut meter = Meter::new("fetch");
    if let Some(told) = child.stdout.take() {
        client::read_lines(told, |line| match serde_json::from_slice(line) {
            Ok(Progress::Layer { number, of, done, total }) => meter.layer(number, of, done, total),
            Ok(Progress::Fetched { .. }) | Err(_) => {}
        });
    }
    explain(child.wait().context("wait for the fetch")?)
}

fn explain(status: ExitStatus) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    if status.signal() == Some(Signal::SIGALRM as i32) {
        bail!("nothing came from the registry for {} s; the same command goes on", SILENCE.as_secs());
    }
    bail!("the image was not fetched; the same command goes on with what has come")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_called_as_in_its_registry() {
        for (reference, name) in [
            ("python:3.12", "library/python:3.12"),
            ("127.0.0.1:5000/team/app", "team/app:latest"),
            (&format!("ghcr.io/a/b@sha256:{}", "0a".repeat(32)), "a/b:0a0a0a0a0a0a"),
        ] {
            assert_eq!(named_by(&Reference::parse(reference).unwrap()).unwrap().as_str(), name);
        }
    }
}
