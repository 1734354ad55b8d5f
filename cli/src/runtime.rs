//! `bulkhead runtime`: composes the privileged half from the store of images and the launcher.

mod roots;

use crate::config::{Flags, Settings};
use crate::doctor;
use crate::operator::{self, OfRuntime};
use crate::process::{self, Refusal};
use anyhow::{Context, anyhow};
use bulkhead_rootfs::disk::Disks;
use bulkhead_rootfs::volume;
use bulkhead_runtime::{Instance, NEUTRAL, server};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
use roots::ImageRoots;
use std::os::fd::OwnedFd;
use std::path::Path;

pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let settings = flags.settings().context(Refusal)?;
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow!("the runtime needs root").context(Refusal));
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    process::die_with(settings.supervisor)?;
    #[cfg(feature = "weaken")]
    bulkhead_runtime::weaken::read_environment().context(Refusal)?;
    process::raise_file_limit()?;
    let agent = std::fs::read(&settings.agent)
        .with_context(|| format!("read the agent {}", settings.agent.display()))
        .context(Refusal)?;
    doctor::refuse(&settings)?;
    let instance =
        Instance::open(&settings.state_dir, &settings.run_dir, settings.gateway_uid).map_err(refused)?;
    // In the host's mount namespace, where the next runtime finds it.
    let volume = volume::open(&settings.state_dir, &settings.run_dir).map_err(no_volume)?;
    let host = own_mounts()?;
    // This half talks to files and to a unix socket; and the agent, which gets a socket to listen on, can ask it for
    // the interfaces of the namespace that it was made in.
    process::leave_the_network()?;
    let roots = ImageRoots::open(&settings, &volume)?;
    let (disks, images) =
        (volume.display().to_string(), settings.state_dir.join("images").display().to_string());
    let state_dir = settings.state_dir.display().to_string();
    let program = std::env::current_exe().context("find this program")?;
    let config = server::Config {
        agent,
        changeable: operator::of_runtime(&settings),
        operator: Box::new(OfRuntime::new(flags.clone(), settings.clone())),
        cgroup_parent: settings.cgroup_parent.clone(),
        images: settings.images.clone(),
        disks: volume.clone(),
        reaper: server::HelperCommand {
            program: program.clone(),
            arguments: ["reaper", "--disks", &disks, "--images", &images].map(str::to_owned).to_vec(),
        },
        grower: server::HelperCommand {
            program: program.clone(),
            arguments: ["grower", "--state-dir", &state_dir, "--disks", &disks].map(str::to_owned).to_vec(),
        },
        image_sweep: settings.image_sweep,
        importer: server::HelperCommand {
            program,
            arguments: ["importer", "--images", &images].map(str::to_owned).to_vec(),
        },
    };
    server::run(instance, Box::new(roots), config).map_err(refused)?;
    unmount_unused(&settings, &volume, &host)
}

/// With no disk left the volume needs no mount.
fn unmount_unused(settings: &Settings, volume: &Path, host: &OwnedFd) -> anyhow::Result<()> {
    if !Disks::open(volume, NEUTRAL.base)?.is_empty()? {
        return Ok(());
    }
    nix::sched::setns(host, CloneFlags::CLONE_NEWNS).context("return to the host's mounts")?;
    // Somebody who looks at it right now keeps it mounted; the next start finds it.
    if let Err(error) = volume::close(&settings.run_dir) {
        tracing::debug!("{error}");
    }
    Ok(())
}

/// A host that cannot limit disks is not one for tenants.
fn no_volume(error: bulkhead_rootfs::Error) -> anyhow::Error {
    let hopeless = matches!(error, bulkhead_rootfs::Error::NoVolume(_));
    let error = anyhow::Error::new(error);
    if hopeless { error.context(Refusal) } else { error }
}

/// A mount namespace of our own, into which nothing of the host's comes and out of which nothing goes; gives back
/// the one we came from.
fn own_mounts() -> anyhow::Result<OwnedFd> {
    let host = std::fs::File::open("/proc/self/ns/mnt").context("remember the host's mounts")?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    nix::mount::mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .context("make mounts private")?;
    Ok(host.into())
}

/// Errors that no restart mends end the supervisor too.
fn refused(error: bulkhead_runtime::Error) -> anyhow::Error {
    let hopeless = error.is_hopeless();
    let error = anyhow::Error::new(error);
    if hopeless { error.context(Refusal) } else { error }
}
