//! `bulkhead runtime`: composes the privileged half from the store of images and the launcher.

use crate::config::{Flags, OnStop, Settings};
use crate::doctor;
use crate::process::{self, Refusal};
use anyhow::{Context, anyhow};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::{FoundImage, ImageId, ImageName};
use bulkhead_protocol::runtime::Disk;
use bulkhead_rootfs::disk::{Disks, Use};
use bulkhead_rootfs::{Store, volume};
use bulkhead_runtime::{Instance, NEUTRAL, Root, RootError, Roots, Wish, server};
use nix::mount::MsFlags;
use nix::sched::CloneFlags;
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
    let config = server::Config {
        agent,
        on_stop: match settings.on_stop {
            OnStop::Keep => server::OnStop::Keep,
            OnStop::Destroy => server::OnStop::Destroy,
        },
        pool: settings.pool,
        overcommit: settings.memory_overcommit,
        disks: volume.clone(),
        reaper: server::ReaperCommand {
            program: std::env::current_exe().context("find this program")?,
            arguments: vec!["reaper".to_owned(), "--disks".to_owned(), volume.display().to_string()],
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
    use bulkhead_runtime::Error;
    let hopeless = matches!(error, Error::Directory { .. } | Error::InUse(_) | Error::HostLacks(_));
    let error = anyhow::Error::new(error);
    if hopeless { error.context(Refusal) } else { error }
}

/// The store of images, as the launcher wants it.
struct ImageRoots(Store);

impl ImageRoots {
    fn open(settings: &Settings, volume: &Path) -> anyhow::Result<Self> {
        let scratch = settings.run_dir.join("mounts/layers");
        let store = Store::open(&settings.state_dir, volume, &scratch, NEUTRAL);
        Ok(Self(store.context("open the store of images")?))
    }
}

impl Roots for ImageRoots {
    fn resolve(&self, org: Option<&str>, image: &ImageName) -> Option<FoundImage> {
        self.0.resolve(org, image)
    }

    fn has_image(&self, image: &ImageId) -> bool {
        self.0.has(image)
    }

    fn prepare(&mut self, wish: Wish<'_>) -> Result<Root, RootError> {
        let made = self.0.prepare(bulkhead_rootfs::Wish {
            id: wish.id.as_str(),
            image: wish.image,
            hostname: wish.hostname,
            range: wish.range,
            disk: match wish.disk {
                Disk::New => Use::New,
                Disk::Kept => Use::Kept,
            },
            disk_bytes: wish.disk_bytes,
        })?;
        Ok(Root { root: made.root, mounts: made.mounts })
    }

    fn discard(&mut self, id: &SandboxId) -> Result<(), RootError> {
        Ok(self.0.disks().discard(id.as_str())?)
    }

    fn disk_limit(&self, id: &SandboxId) -> Result<Option<u64>, RootError> {
        Ok(self.0.disks().limit(id.as_str())?)
    }

    fn has_disk(&self, id: &SandboxId) -> Result<bool, RootError> {
        Ok(self.0.disks().exists(id.as_str())?)
    }

    fn disks(&self) -> Result<Vec<String>, RootError> {
        Ok(self.0.disks().list()?)
    }
}
