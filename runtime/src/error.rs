//! What can go wrong in the runtime. Text for the operator's log; a gateway gets a kind.

use bulkhead_protocol::runtime::{RefusalKind, Scarce};
use std::path::PathBuf;

/// A failed step of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The call.
        #[source]
        source: bulkhead_sys::Error,
    },
    /// The child of a launch failed at a step.
    #[error("launch: step {index} of the {process:?}: {step}")]
    Step {
        /// Which process of the launch.
        process: bulkhead_sys::report::Process,
        /// Number of the step.
        index: usize,
        /// The step in words.
        step: String,
        /// Why.
        #[source]
        errno: nix::errno::Errno,
    },
    /// The root of a sandbox could not be made.
    #[error("prepare a root")]
    Root(#[source] crate::roots::RootError),
    /// A directory of the host cannot be shown in sandboxes.
    #[error(
        "show {directory} of the host at {at} of a sandbox (images.NAME.mounts)",
        directory = directory.display(), at = at.display()
    )]
    Show {
        /// Which.
        directory: PathBuf,
        /// Where in a sandbox.
        at: PathBuf,
        /// Why not; `EINVAL` where no overlay can be made of its file system.
        #[source]
        error: crate::roots::RootError,
    },
    /// A directory is not what it must be.
    #[error("{path}: {problem}", path = path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// Another server holds the state directory.
    #[error("{path} is in use by another server", path = .0.display())]
    InUse(PathBuf),
    /// A wall that this host does not have.
    #[error("this host lacks {0}")]
    HostLacks(&'static str),
    /// Every id range is in use.
    #[error("no free id range")]
    NoIds,
    /// A record that is not ours or not whole.
    #[error("record {path}", path = path.display())]
    Record {
        /// Which.
        path: PathBuf,
        /// Why it cannot be read.
        #[source]
        source: serde_json::Error,
    },
    /// A sandbox that runs has no cgroup.
    #[error("its cgroup is gone")]
    NoGroup,
    /// The spec of a sandbox lacks something that a launch needs, or says what no launch here does.
    #[error("the spec of a sandbox: {0}")]
    Spec(&'static str),
    /// Something took longer than its named limit.
    #[error("{0} took too long")]
    TooLong(&'static str),
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Whether no restart mends it: the operator must.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        match self {
            Self::Directory { .. } | Self::InUse(_) | Self::HostLacks(_) => true,
            Self::Show { error, .. } => errno_of(error.as_ref()) == Some(nix::errno::Errno::EINVAL),
            _ => false,
        }
    }

    /// What a gateway is told.
    #[must_use]
    pub fn kind(&self) -> RefusalKind {
        use nix::errno::Errno;
        let errno = match self {
            Error::NoIds => return RefusalKind::NoRoom(Scarce::Ids),
            Error::System { source, .. } => source.errno,
            Error::Step { errno, .. } => *errno,
            Error::Root(error) | Error::Show { error, .. } => match errno_of(error.as_ref()) {
                Some(errno) => errno,
                None => return RefusalKind::Failed,
            },
            _ => return RefusalKind::Failed,
        };
        match errno {
            Errno::ENOSPC | Errno::EDQUOT => RefusalKind::NoRoom(Scarce::Disk),
            Errno::EAGAIN => RefusalKind::NoRoom(Scarce::Processes),
            Errno::ENOMEM => RefusalKind::NoRoom(Scarce::Memory),
            Errno::EMFILE | Errno::ENFILE => RefusalKind::NoRoom(Scarce::Files),
            _ => RefusalKind::Failed,
        }
    }
}

/// The system's reason below an error of somebody else's type.
fn errno_of(error: &(dyn std::error::Error + 'static)) -> Option<nix::errno::Errno> {
    let found = error.downcast_ref::<bulkhead_sys::Error>().map(|error| error.errno);
    found.or_else(|| errno_of(error.source()?))
}

/// Adds what was being done to a failed call.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T>;
}

impl<T> Doing<T> for bulkhead_sys::Result<T> {
    fn doing(self, what: &'static str) -> Result<T> {
        self.map_err(|source| Error::System { doing: what, source })
    }
}

/// An error with all that caused it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_sys::error::Context;

    #[derive(Debug, thiserror::Error)]
    #[error("make a disk")]
    struct Outer(#[source] bulkhead_sys::Error);

    #[test]
    fn a_full_disk_is_want_of_room_whoever_found_it() {
        let refused = |errno: nix::errno::Errno| {
            let inner = Err::<(), _>(errno).during("ioctl", String::new).unwrap_err();
            Error::Root(Box::new(Outer(inner))).kind()
        };
        assert_eq!(refused(nix::errno::Errno::ENOSPC), RefusalKind::NoRoom(Scarce::Disk));
        assert_eq!(refused(nix::errno::Errno::EIO), RefusalKind::Failed);
        assert_eq!(Error::Root("text".into()).kind(), RefusalKind::Failed);
    }
}
