//! Why an operation stops.

use bulkhead_protocol::files::FileFailure;
use nix::errno::Errno;

/// Why an operation does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The gateway is told.
    Failed(FileFailure),
    /// There is nobody to be told.
    Gone,
}

/// What an operation comes to.
pub(crate) type Outcome<T = ()> = Result<T, Stop>;

/// An operation that failed for this reason.
pub(crate) fn failed<T>(failure: FileFailure) -> Outcome<T> {
    Err(Stop::Failed(failure))
}

impl From<FileFailure> for Stop {
    fn from(failure: FileFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Self {
        use FileFailure as Failure;
        Self::Failed(match errno {
            Errno::ENOENT => Failure::NotFound,
            Errno::ENOTDIR => Failure::NotDirectory,
            Errno::EISDIR => Failure::IsDirectory,
            // Busy is what a mount is attached to: nobody inside may move that.
            Errno::EACCES | Errno::EPERM | Errno::ETXTBSY | Errno::EBUSY => Failure::Denied,
            Errno::EEXIST | Errno::ENOTEMPTY => Failure::Exists,
            Errno::EROFS => Failure::ReadOnly,
            Errno::ENOSPC | Errno::EDQUOT => Failure::NoSpace,
            Errno::EFBIG => Failure::TooLarge,
            Errno::ENAMETOOLONG | Errno::ELOOP => Failure::BadPath,
            // A file of the kernel that cannot be read there.
            Errno::ENXIO | Errno::ENODEV | Errno::EIO => Failure::Special,
            Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN => Failure::Resources,
            _ => Failure::Internal,
        })
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        Self::from(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
    }
}
