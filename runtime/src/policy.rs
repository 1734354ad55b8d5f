//! What the operator says of the sandboxes of one image, on top of what the product says of all.

use crate::digests::Digests;
use crate::error::{Doing, Error, Result};
use crate::roots::Roots;
use crate::spec::mounts;
use bulkhead_protocol::image::{FoundImage, ImageName, MostLimits};
use bulkhead_sys::call::mount::{self, Depth};
use bulkhead_sys::error::Context;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use oci_spec::runtime::Mount;
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// The settings of one image, checked. An image is meant by its name, whoever's it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Directories of the host that are shown, read-only: where in the sandbox, and which.
    pub mounts: Vec<(String, PathBuf)>,
    /// Variables that commands have where neither tenant nor request says otherwise.
    pub env: BTreeMap<String, String>,
    /// Numbers of system calls that commands are refused on top of their profile.
    pub denied: Vec<u32>,
    /// The most that a sandbox gets, whatever it asked for.
    pub most: MostLimits,
}

/// All of them, with what they show held open: what happens to a path later changes nothing.
#[derive(Debug)]
pub(crate) struct Policies {
    none: Policy,
    named: BTreeMap<ImageName, Policy>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Policy {
    directories: Vec<Directory>,
    env: BTreeMap<String, String>,
    pub(crate) denied: Vec<u32>,
    pub(crate) most: MostLimits,
    /// Of the filters of its sandboxes.
    pub(crate) filters: Digests,
}

#[derive(Debug)]
struct Directory {
    mount: Mount,
    opened: OwnedFd,
}

impl Policies {
    /// Opens what they show, and makes a view of each once: one that cannot be made is found before the first launch.
    pub(crate) fn open(named: &BTreeMap<ImageName, ImagePolicy>, roots: &dyn Roots) -> Result<Self> {
        let open = |(name, policy): (&ImageName, &ImagePolicy)| {
            let opened = Policy::open(policy)?;
            drop(opened.handles(roots)?);
            Ok((name.clone(), opened))
        };
        let none = Policy::open(&ImagePolicy::default())?;
        Ok(Self { none, named: named.iter().map(open).collect::<Result<_>>()? })
    }

    /// For sandboxes of the image of this name.
    pub(crate) fn of(&self, name: &ImageName) -> &Policy {
        self.named.get(name).unwrap_or(&self.none)
    }
}

impl Policy {
    fn open(policy: &ImagePolicy) -> Result<Self> {
        let directories = policy.mounts.iter().map(|(at, source)| Directory::open(at, source));
        Ok(Self {
            directories: directories.collect::<Result<_>>()?,
            env: policy.env.clone(),
            denied: policy.denied.clone(),
            most: policy.most,
            filters: Digests::of_this_release(&policy.denied),
        })
    }

    /// What a gateway is told of an image.
    pub(crate) fn apply(&self, mut found: FoundImage) -> FoundImage {
        found.defaults.env.retain(|(name, _)| !self.env.contains_key(name));
        found.defaults.env.extend(self.env.clone());
        found.most = self.most;
        found
    }

    /// The mounts as the spec has them.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        self.directories.iter().map(|directory| directory.mount.clone()).collect()
    }

    /// The same for one launch, by their sources: detached, with the attributes that the spec says.
    pub(crate) fn handles(&self, roots: &dyn Roots) -> Result<Vec<(String, OwnedFd)>> {
        self.directories.iter().map(|directory| directory.handle(roots)).collect()
    }
}

impl Directory {
    fn open(at: &str, source: &std::path::Path) -> Result<Self> {
        let text = source.to_str().ok_or(Error::Spec("a directory whose name is no text"))?;
        let how = OpenHow::new()
            .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        let opened = openat2(nix::fcntl::AT_FDCWD, source, how)
            .during("openat2", || text.to_owned())
            .doing("open a directory that an image shows")?;
        let mount = mounts::mount(at, "overlay", text, &["bind", "ro", "nosuid", "nodev"])?;
        Ok(Self { mount, opened })
    }

    /// Of this mount alone: what is mounted below it on the host is not shown. Not the directory itself: who reaches
    /// its inodes can connect to sockets and write to FIFOs in it, read-only or not, and hold up the host with locks.
    fn handle(&self, roots: &dyn Roots) -> Result<(String, OwnedFd)> {
        let source = self.mount.source().as_ref().ok_or(Error::Spec("a mount of nothing"))?;
        let failed =
            |error| Error::Show { directory: source.clone(), at: self.mount.destination().clone(), error };
        let view = roots.show(self.opened.as_fd()).map_err(failed)?;
        mount::set_attributes(view.as_fd(), mounts::attributes(&self.mount), 0, None, Depth::One)
            .during("mount_setattr", || source.display().to_string())
            .doing("show a directory of the host")?;
        Ok((source.to_string_lossy().into_owned(), view))
    }
}
