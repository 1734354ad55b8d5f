//! The file system that all disks of an instance lie in: one file with btrfs, mounted once, which grows as it fills
//! (`room.rs`).
//!
//! A disk needs a limit that the kernel enforces, whatever the state directory lies on. Subvolumes of btrfs have
//! one, cost 0.2 ms to make and nothing to delete. The mount stands in the host's mount namespace, so that a runtime
//! that starts again finds it, and there is never a second loop device over the same file.

mod room;

pub(crate) use room::next_step;
pub use room::{Growth, Room};

use crate::error::{Doing, Error, Result};
use bulkhead_sys::error::Context;
use bulkhead_sys::{btrfs, loopdev};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use nix::sys::statfs::{BTRFS_SUPER_MAGIC, statfs};
use nix::sys::statvfs::statvfs;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The file, in the state directory.
pub const FILE: &str = "store.btrfs";
/// The file while it is made.
pub const HALF: &str = "store.new";
/// Where it is mounted, in the run directory.
pub const MOUNT: &str = "store";
/// Of the room that the state directory has with the file's own, in hundredths: the rest stays the host's.
const SHARE_OF_FREE: u64 = 75;
/// Smallest file in bytes: less holds no useful disk.
const LEAST_BYTES: u64 = 1 << 30;
/// What makes the file system.
pub(crate) const MKFS: &str = "mkfs.btrfs";

/// Mounts the volume of an instance, making it first where there is none, and gives back where it stands.
///
/// The caller holds the lock of the instance and is in the host's mount namespace.
///
/// # Errors
/// [`Error::NoVolume`] where the host cannot do it, or the first call that failed.
pub fn open(state_dir: &Path, run_dir: &Path) -> Result<PathBuf> {
    let (file, place) = (state_dir.join(FILE), run_dir.join(MOUNT));
    match fs::create_dir(&place) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => {
            made.during("mkdir", || place.display().to_string()).doing("make the mount point of the disks")?
        }
    }
    if !is_mounted(&place)? {
        if !file.exists() {
            make(&file)?;
        }
        room::keep_promise(&file)?;
        mount_at(&file, &place)?;
    }
    let root = open_directory(&place)?;
    btrfs::enable_quotas(root.as_fd()).doing("turn on disk limits")?;
    Ok(place)
}

/// Unmounts the volume, in the caller's mount namespace; the loop device goes with its last mount.
///
/// # Errors
/// [`Error::System`] with `EBUSY` while something uses it.
pub fn close(run_dir: &Path) -> Result<()> {
    let place = run_dir.join(MOUNT);
    if !place.exists() || !is_mounted(&place)? {
        return Ok(());
    }
    umount2(&place, MntFlags::UMOUNT_NOFOLLOW)
        .during("umount2", || place.display().to_string())
        .doing("unmount the disks")
}

fn is_mounted(place: &Path) -> Result<bool> {
    let found = statfs(place)
        .during("statfs", || place.display().to_string())
        .doing("look at the volume of disks")?;
    if found.filesystem_type() != BTRFS_SUPER_MAGIC {
        return Ok(false);
    }
    // The run directory may lie on a btrfs of the host's.
    let device = |path: &Path| {
        nix::sys::stat::stat(path)
            .during("stat", || path.display().to_string())
            .doing("look at the volume of disks")
            .map(|meta| meta.st_dev)
    };
    let parent = place.parent().unwrap_or(Path::new("/"));
    Ok(device(place)? != device(parent)?)
}

/// Makes the file under another name first: one that is there is whole.
fn make(file: &Path) -> Result<()> {
    let new = file.with_file_name(HALF);
    match fs::remove_file(&new) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        done => done.during("unlink", || new.display().to_string()).doing("remove half a volume")?,
    }
    let label = || new.display().to_string();
    let size = size_for(file)?;
    let mut options = fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(0o600).open(&new);
    let made = made.during("open", label).doing("make the volume of disks")?;
    if !room::take(&made, &new, 0, size)? {
        return Err(Error::NoVolume(format!("{}: no room for {} MiB", new.display(), size >> 20)));
    }
    // One device without a mirror: copies of metadata on the same disk protect from little. No discard: it is empty.
    let done = Command::new(MKFS)
        .args(["-q", "-K", "-m", "single", "-d", "single"])
        .arg(&new)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    match done {
        Ok(output) if output.status.success() => {}
        Ok(output) => return Err(Error::NoVolume(said(&output.stderr))),
        Err(error) => return Err(Error::NoVolume(format!("{MKFS} (package btrfs-progs): {error}"))),
    }
    fs::rename(&new, file).during("rename", label).doing("make the volume of disks")
}

/// Bytes that must be free for a new volume.
pub(crate) fn least_free() -> u64 {
    LEAST_BYTES * 100 / SHARE_OF_FREE
}

fn size_for(file: &Path) -> Result<u64> {
    let home = file.parent().unwrap_or(Path::new("/"));
    let room = statvfs(home)
        .during("statvfs", || home.display().to_string())
        .doing("look for room for the disks")?;
    let free = room.blocks_available() * room.fragment_size();
    room::first_size(free).ok_or_else(|| {
        let (have, need) = (free >> 20, least_free() >> 20);
        Error::NoVolume(format!("{}: {have} MiB free, {need} needed", home.display()))
    })
}

fn mount_at(file: &Path, place: &Path) -> Result<()> {
    let label = || file.display().to_string();
    let flags = OFlag::O_RDWR | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let opened = nix::fcntl::open(file, flags, Mode::empty())
        .during("open", label)
        .doing("open the volume of disks")?;
    let (device, _held) = match attached_device(opened.as_fd())? {
        Some(device) => (device, None),
        None => {
            let made = loopdev::attach(opened.as_fd()).doing("attach the volume of disks")?;
            (made.path.clone(), Some(made))
        }
    };
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    // Nothing is discarded: a hole in the file would be somebody else's at once.
    match mount(Some(&device), place, Some("btrfs"), flags, Some("nodiscard")) {
        Err(Errno::ENODEV) => Err(Error::NoVolume("this kernel has no btrfs".to_owned())),
        done => done
            .during("mount", || format!("{} at {}", device.display(), place.display()))
            .doing("mount the disks"),
    }
}

/// The loop device that has this file already: of a mount that somebody moved, or of another run directory.
fn attached_device(file: BorrowedFd<'_>) -> Result<Option<PathBuf>> {
    // As the kernel names it, whichever links led to it.
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    let wanted = fs::read_link(&name).during("readlink", || name).doing("open the volume of disks")?;
    let devices =
        fs::read_dir("/sys/block").during("open", || "/sys/block".into()).doing("list the loop devices")?;
    for device in devices.flatten() {
        let backing = fs::read_to_string(device.path().join("loop/backing_file"));
        if backing.is_ok_and(|path| Path::new(path.trim_end()) == wanted) {
            return Ok(Some(Path::new("/dev").join(device.file_name())));
        }
    }
    Ok(None)
}

fn open_directory(place: &Path) -> Result<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    nix::fcntl::open(place, flags, Mode::empty())
        .during("open", || place.display().to_string())
        .doing("open the volume of disks")
}

fn said(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().find(|line| line.starts_with("ERROR")).unwrap_or("failed");
    format!("{MKFS}: {line}")
}
