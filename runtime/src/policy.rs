//! What the operator says of the sandboxes of one image, on top of what the product says of all.

use crate::digests::Digests;
use crate::error::{Doing, Error, Result};
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
    pub(crate) fn open(named: &BTreeMap<ImageName, ImagePolicy>) -> Result<Self> {
        let named = named.iter().map(|(name, policy)| Ok((name.clone(), Policy::open(policy)?)));
        Ok(Self { none: Policy::open(&ImagePolicy::default())?, named: named.collect::<Result<_>>()? })
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
    pub(crate) fn handles(&self) -> Result<Vec<(String, OwnedFd)>> {
        self.directories.iter().map(Directory::handle).collect()
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
        let mount = mounts::mount(at, mounts::ANY, text, &["bind", "ro", "nosuid", "nodev"])?;
        Ok(Self { mount, opened })
    }

    /// Of this mount alone: what is mounted below it on the host is not shown.
    fn handle(&self) -> Result<(String, OwnedFd)> {
        const DOING: &str = "show a directory of the host";
        let name = || self.mount.destination().display().to_string();
        let copy =
            mount::open_tree(self.opened.as_fd(), c"", Depth::One).during("open_tree", name).doing(DOING)?;
        mount::set_attributes(copy.as_fd(), mounts::attributes(&self.mount), 0, None, Depth::One)
            .during("mount_setattr", name)
            .doing(DOING)?;
        let source = self.mount.source().as_ref().ok_or(Error::Spec("a mount of nothing"))?;
        Ok((source.to_string_lossy().into_owned(), copy))
    }
}
