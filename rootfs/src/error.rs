//! What can go wrong with a root file system.

/// A failed step of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call about the store, an image or a disk.
    #[error("{doing}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// The call.
        #[source]
        source: bulkhead_sys::Error,
    },
    /// The host cannot limit disks.
    #[error("no volume for disks: {0}")]
    NoVolume(String),
    /// No image of this name.
    #[error("no image {0}")]
    UnknownImage(String),
    /// A file of the store that is not what we write.
    #[error("{path}", path = path.display())]
    Unreadable {
        /// Which.
        path: std::path::PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// An import came to no image.
    #[error("import")]
    Import(#[source] crate::import::Failure),
    /// Somebody has as many images as they may.
    #[error("{0} names of images are given")]
    TooManyNames(usize),
    /// The overlay came back read-only: the map of its upper layer lacks the line for the work directory.
    #[error("the overlay is read-only though it has an upper layer")]
    ReadOnlyRoot,
}

/// Result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds what was being done to a failed call.
pub(crate) trait Doing<T> {
    fn doing(self, what: &'static str) -> Result<T>;
}

impl<T> Doing<T> for bulkhead_sys::Result<T> {
    fn doing(self, what: &'static str) -> Result<T> {
        self.map_err(|source| Error::System { doing: what, source })
    }
}
