//! A /dev that every sandbox gets a copy of: made once, in the runtime's private mount namespace.

use crate::error::{Doing, Error, Result};
use bulkhead_sys::call::mount::{self, Depth, attr};
use bulkhead_sys::error::Context;
use bulkhead_sys::filesystem;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, major, minor, mkdirat};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Nodes of the host's /dev with their numbers: a node of another number is somebody's trap.
const NODES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
    ("pts/ptmx", "ptmx"),
];
/// Mount points for what each sandbox has of its own.
const DIRECTORIES: [&str; 3] = ["pts", "shm", "mqueue"];
const PATH: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Whether there is a node of this name.
pub(crate) fn has(name: &str) -> bool {
    NODES.iter().any(|(node, ..)| *node == name)
}

/// The /dev that copies are made of.
#[derive(Debug)]
pub(crate) struct Template(OwnedFd);

impl Template {
    /// Makes it at `place`, a directory of ours that nobody else may enter.
    pub(crate) fn make(place: &Path) -> Result<Self> {
        make(place).doing("make a /dev").and_then(|template| {
            for (name, wanted_major, wanted_minor) in NODES {
                bind_node(template.as_fd(), name, (wanted_major, wanted_minor))?;
            }
            let everything = attr::RDONLY | attr::NOSUID | attr::NOEXEC;
            mount::set_attributes(template.as_fd(), everything, 0, None, Depth::One)
                .during("mount_setattr", || "/dev".into())
                .doing("make a /dev read-only")?;
            Ok(Self(template))
        })
    }

    /// A detached copy, nodes included.
    pub(crate) fn copy(&self) -> Result<OwnedFd> {
        mount::open_tree(self.0.as_fd(), c"", Depth::All)
            .during("open_tree", || "/dev".into())
            .doing("copy /dev")
    }
}

fn make(place: &Path) -> bulkhead_sys::Result<OwnedFd> {
    let options = [(c"size", c"64k"), (c"nr_inodes", c"64"), (c"mode", c"0755")];
    let made = filesystem::make(c"tmpfs", &options, attr::NOSUID | attr::NOEXEC)?;
    // The nodes are bound over files of it, for which it has to stand somewhere in this namespace.
    filesystem::stand(made.as_fd(), place)?;
    for name in DIRECTORIES {
        mkdirat(&made, name, Mode::from_bits_truncate(0o755)).during("mkdirat", || name.to_owned())?;
    }
    for (target, name) in LINKS {
        nix::unistd::symlinkat(target, &made, name).during("symlinkat", || name.to_owned())?;
    }
    Ok(made)
}

fn bind_node(template: BorrowedFd<'_>, name: &str, number: (u64, u64)) -> Result<()> {
    let path = CString::new(format!("/dev/{name}")).expect("names have no NUL");
    let node = checked_node(&path, number)?;
    let file = openat(
        template,
        name,
        OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC,
        Mode::from_bits_truncate(0o666),
    )
    .during("openat", || name.to_owned())
    .doing("make a /dev")?;
    let copy = mount::open_tree(node.as_fd(), c"", Depth::One)
        .during("open_tree", || name.to_owned())
        .doing("copy a device node")?;
    // Read-only keeps tenants from the times of the host's inode; writing to the device is another thing.
    mount::set_attributes(copy.as_fd(), attr::RDONLY | attr::NOSUID | attr::NOEXEC, 0, None, Depth::One)
        .during("mount_setattr", || name.to_owned())
        .doing("copy a device node")?;
    mount::attach(copy.as_fd(), file.as_fd())
        .during("move_mount", || name.to_owned())
        .doing("bind a device node")
}

/// Opens a node of the host, if it is the character device that it should be.
fn checked_node(path: &CStr, number: (u64, u64)) -> Result<OwnedFd> {
    let node = nix::fcntl::open(path, PATH, Mode::empty())
        .during("open", || path.to_string_lossy().into_owned())
        .doing("open a device node")?;
    let meta =
        fstat(&node).during("fstat", || path.to_string_lossy().into_owned()).doing("check a device node")?;
    let is_character = SFlag::from_bits_truncate(meta.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFCHR;
    if is_character && (major(meta.st_rdev), minor(meta.st_rdev)) == number {
        return Ok(node);
    }
    let source =
        bulkhead_sys::Error { call: "fstat", on: path.to_string_lossy().into_owned(), errno: Errno::ENODEV };
    Err(Error::System { doing: "check a device node", source })
}
