//! The files of /etc that differ between sandboxes.
//!
//! Where the kernel can take a mount out of a detached one (Linux 6.15) they lie in a small file system in memory and
//! are mounted one by one: on the disk each would cost an inode in every launch. Bound from the state directory they
//! would show its path in the mount table of the sandbox. Before 6.15 they are written to the disk.

use crate::disk::{Disk, Use};
use crate::error::{Doing, Result};
use crate::store::Part;
use bulkhead_sys::call::mount::{self, Depth, attr};
use bulkhead_sys::error::Context;
use bulkhead_sys::filesystem;
use bulkhead_sys::userns::IdRange;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{Gid, Uid};
use std::ffi::{CStr, CString};
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

/// Where they go on this kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Memory,
    Disk,
}

impl Place {
    /// Tried once.
    pub(crate) fn probe() -> Self {
        match in_memory("probe", 0) {
            Ok(_) => Self::Memory,
            Err(_) => Self::Disk,
        }
    }
}

/// Puts them in their place, owned by the tenant: mounts relative to the root, or files below `disk`, whose owners
/// are translated later.
pub(crate) fn put(
    place: Place,
    hostname: &str,
    range: IdRange,
    disk: &Disk,
    use_of: Use,
) -> Result<Vec<Part>> {
    match place {
        Place::Memory => in_memory(hostname, range.base).doing("write the files of /etc"),
        Place::Disk => {
            match use_of {
                Use::New => disk.write_etc(&texts(hostname))?,
                Use::Kept => disk.rewrite_etc(&texts(hostname))?,
            }
            Ok(Vec::new())
        }
    }
}

fn texts(hostname: &str) -> [(&'static CStr, String); 2] {
    let hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    [(c"hostname", format!("{hostname}\n")), (c"hosts", hosts)]
}

fn in_memory(hostname: &str, owner: u32) -> bulkhead_sys::Result<Vec<Part>> {
    let options = [(c"size", c"64k"), (c"nr_inodes", c"4"), (c"mode", c"0755")];
    let made = filesystem::make(c"tmpfs", &options, attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
    let mut out = Vec::new();
    for (name, text) in texts(hostname) {
        let label = || name.to_string_lossy().into_owned();
        write(made.as_fd(), name, &text, owner)?;
        let alone = mount::open_tree(made.as_fd(), name, Depth::One).during("open_tree", label)?;
        let at = CString::new(format!("etc/{}", name.to_string_lossy())).expect("names have no NUL");
        let options = &["nosuid", "nodev", "noexec"];
        out.push(Part { at, mount: alone, kind: "tmpfs", options });
    }
    Ok(out)
}

/// Leaves out the mounts whose place a tenant of an earlier launch has taken away: what they cover must be a file,
/// found below the root without following a link.
pub(crate) fn keep_placeable(parts: &mut Vec<Part>, root: BorrowedFd<'_>) {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    parts.retain(|part| {
        let found = openat2(root, part.at.as_c_str(), how).and_then(nix::sys::stat::fstat);
        found.is_ok_and(|meta| SFlag::from_bits_truncate(meta.st_mode) & SFlag::S_IFMT == SFlag::S_IFREG)
    });
}

/// Writes one of the files into a directory.
pub(crate) fn write(
    directory: BorrowedFd<'_>,
    name: &CStr,
    text: &str,
    owner: u32,
) -> bulkhead_sys::Result<()> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let label = || name.to_string_lossy().into_owned();
    let file = openat(directory, name, flags, Mode::from_bits_truncate(0o644)).during("openat", label)?;
    nix::unistd::fchown(&file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))
        .during("fchown", label)?;
    std::fs::File::from(file).write_all(text.as_bytes()).during("write", label)
}
