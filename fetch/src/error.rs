//! Why an image could not be fetched.

use crate::digest::Digest;
use crate::limits;
use std::io;
use std::path::PathBuf;

/// Every failure of a fetch. Texts of a registry in it are short and printable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of ours.
    #[error("{doing} {path}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file with certificates holds none, or something else.
    #[error("the certificates are unusable")]
    Certificates,
    /// The file with credentials is none.
    #[error("the file with credentials is not understood")]
    Credentials,
    /// No answer came.
    #[error("ask {host}")]
    Transport {
        /// Who was asked.
        host: String,
        /// Why.
        #[source]
        source: Box<ureq::Error>,
    },
    /// The connection broke in the middle.
    #[error("the connection broke")]
    Cut(#[source] io::Error),
    /// An answer that says no.
    #[error("{host} answered {status} to the request for {what}")]
    Status {
        /// Who answered.
        host: String,
        /// With what.
        status: u16,
        /// What was asked for.
        what: &'static str,
    },
    /// The registry sends us where we do not go.
    #[error("the registry names an address that is not followed: {0}")]
    Address(String),
    /// The registry sends us on and on.
    #[error("the registry redirects more than {} times", limits::REDIRECTS)]
    Redirects,
    /// The registry asks for another kind of authentication, or gives no token.
    #[error("the registry's authentication is not understood")]
    Authentication,
    /// More than may come.
    #[error("{what} is larger than {most}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// The bound.
        most: u64,
    },
    /// Other bytes than were promised.
    #[error("{what} has another digest than {expected}")]
    Digest {
        /// What.
        what: &'static str,
        /// What was promised.
        expected: Digest,
    },
    /// More or fewer bytes than were promised.
    #[error("{what} has another size than {expected} bytes")]
    Size {
        /// What.
        what: &'static str,
        /// What was promised.
        expected: u64,
    },
    /// JSON that is not what it should be.
    #[error("the registry's {0} is not understood")]
    Malformed(&'static str),
    /// There is no image for this machine.
    #[error("the image is not there for linux/amd64")]
    Platform,
}

impl Error {
    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }

    /// Whether asking again may help.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Cut(_) => true,
            Self::Status { status, .. } => matches!(status, 429 | 500..),
            _ => false,
        }
    }
}

/// A text of a registry as it may be shown.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(char::is_ascii).filter(|c| !c.is_ascii_control()).take(limits::SHOWN).collect()
}
