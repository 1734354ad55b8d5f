//! The files of /etc that differ between sandboxes: in a small file system in memory, mounted one by one.
//!
//! Not on the disk, where each would cost an inode in every launch, and not bound from the state directory, whose
//! path every sandbox could read in its mount table.

use crate::error::{Doing, Result};
use crate::idmap::IdRange;
use bulkhead_sys::call::mount::{self, Depth, Setting, attr};
use bulkhead_sys::error::Context;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};

/// Mounts for /etc/hostname and /etc/hosts, the tenant's to write to.
pub(crate) fn files(hostname: &str, range: IdRange) -> Result<Vec<(CString, OwnedFd)>> {
    make(hostname, range.base).doing("write the files of /etc")
}

fn make(hostname: &str, owner: u32) -> bulkhead_sys::Result<Vec<(CString, OwnedFd)>> {
    let fs = mount::fsopen(c"tmpfs").during("fsopen", || "tmpfs".into())?;
    for (key, value) in [(c"size", c"64k"), (c"nr_inodes", c"4"), (c"mode", c"0755")] {
        mount::configure(fs.as_fd(), key, Setting::Text(value)).during("fsconfig", || "tmpfs".into())?;
    }
    let attributes = attr::NOSUID | attr::NODEV | attr::NOEXEC;
    let made = mount::create(fs.as_fd(), attributes).during("fsmount", || "tmpfs".into())?;
    let hosts = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    let mut out = Vec::new();
    for (name, text) in [(c"hostname", format!("{hostname}\n")), (c"hosts", hosts)] {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let label = || name.to_string_lossy().into_owned();
        let file = openat(&made, name, flags, Mode::from_bits_truncate(0o644)).during("openat", label)?;
        nix::unistd::fchown(&file, Some(Uid::from_raw(owner)), Some(Gid::from_raw(owner)))
            .during("fchown", label)?;
        std::fs::File::from(file).write_all(text.as_bytes()).during("write", label)?;
        let alone = mount::open_tree(made.as_fd(), name, Depth::One).during("open_tree", label)?;
        let at = CString::new(format!("etc/{}", name.to_string_lossy())).expect("names have no NUL");
        out.push((at, alone));
    }
    Ok(out)
}
