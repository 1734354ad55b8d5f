//! Loop devices, see loop(4).

use crate::error::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// `LOOP_CTL_GET_FREE` of `linux/loop.h`.
const GET_FREE: libc::c_ulong = 0x4C82;
/// `LOOP_CONFIGURE` (Linux 5.8).
const CONFIGURE: libc::c_ulong = 0x4C0A;
/// `LOOP_SET_CAPACITY`.
const SET_CAPACITY: libc::c_ulong = 0x4C07;
/// `LO_FLAGS_AUTOCLEAR`: the device lets go of its file when its last user does.
const AUTOCLEAR: u32 = 4;
/// `LO_FLAGS_DIRECT_IO`: the file's pages are not cached a second time.
const DIRECT_IO: u32 = 16;
/// Devices that others took between our asking and our taking, before we give up.
const TRIES: usize = 16;

/// `loop_info64`.
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `loop_config`.
#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A device with a file behind it; it ends when this and every mount of it is gone.
#[derive(Debug)]
pub struct LoopDevice {
    /// `/dev/loopN`.
    pub path: PathBuf,
    _device: OwnedFd,
}

/// Puts `file`, opened for reading and writing, behind a free device, with I/O past the page cache where the file
/// system below can do that.
///
/// # Errors
/// As open(2) and ioctl(2); `EBUSY` when others take every device before we do.
pub fn attach(file: BorrowedFd<'_>) -> Result<LoopDevice> {
    let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let control = "/dev/loop-control";
    let control = nix::fcntl::open(control, flags, Mode::empty()).during("open", || control.into())?;
    for _ in 0..TRIES {
        // SAFETY: LOOP_CTL_GET_FREE takes no argument and returns a number; the descriptor is owned by this
        // function and so open.
        let number = Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) })
            .during("ioctl", || "LOOP_CTL_GET_FREE".into())?;
        let path = PathBuf::from(format!("/dev/loop{number}"));
        let device =
            nix::fcntl::open(&path, flags, Mode::empty()).during("open", || path.display().to_string())?;
        match configure(&device, file, AUTOCLEAR | DIRECT_IO) {
            Ok(()) => return Ok(LoopDevice { path, _device: device }),
            Err(Errno::EBUSY) => {}
            Err(errno) => return Err(errno).during("ioctl", || format!("LOOP_CONFIGURE {number}")),
        }
    }
    Err(Errno::EBUSY).during("ioctl", || "LOOP_CONFIGURE".into())
}

/// Makes a device as large as the file behind it is now.
///
/// # Errors
/// As open(2) and ioctl(2).
pub fn follow_size(device: &Path) -> Result<()> {
    let label = || device.display().to_string();
    let opened =
        nix::fcntl::open(device, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).during("open", label)?;
    // SAFETY: LOOP_SET_CAPACITY takes no argument and touches no memory of ours; the descriptor is owned by this function
    // and so open.
    Errno::result(unsafe { libc::ioctl(opened.as_raw_fd(), SET_CAPACITY) })
        .map(drop)
        .during("ioctl", || format!("LOOP_SET_CAPACITY {}", device.display()))
}

fn configure(device: &OwnedFd, file: BorrowedFd<'_>, flags: u32) -> nix::Result<()> {
    let info = Info {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
    let fd = u32::try_from(file.as_raw_fd()).map_err(|_| Errno::EBADF)?;
    let config = Config { fd, block_size: 0, info, reserved: [0; 8] };
    // SAFETY: LOOP_CONFIGURE reads one loop_config, whose layout `Config` repeats field by field and which outlives
    // the call; both descriptors are borrowed and so open, and the kernel takes a reference of its own to the file.
    Errno::result(unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, &raw const config) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_the_kernels() {
        assert_eq!((size_of::<Info>(), size_of::<Config>()), (232, 304));
    }
}
