//! The two kinds of error value: [`Error`] ends the process, `ApiError` ends one request.
//!
//! An `ApiError` carries the cause for our log, which never reaches the client, and a message for the client,
//! which never holds text of the system.

use hyper::StatusCode;
use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why the gateway could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory of ours is not as the runtime should have made it.
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
    /// The port stayed taken.
    #[error("listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// What a service manager handed over is no listening socket.
    #[error("the socket that was handed over does not listen for TCP")]
    Inherited(#[source] io::Error),
    /// No runtime accepted us in time.
    #[error("no runtime answers on {path}")]
    NoRuntime {
        /// Its socket.
        path: PathBuf,
    },
    /// The database.
    #[error("the store")]
    Store(#[from] crate::store::StoreError),
    /// The certificate of the API.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
    /// A runtime that had answered was away, or late, when it was asked for the certificate.
    #[error("ask the runtime for the certificate")]
    Unread(#[source] Cause),
    /// Threads, timers, signals.
    #[error("start {what}")]
    Start {
        /// Which part.
        what: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The kernel's random generator.
    #[error("read random bytes")]
    Random(#[source] getrandom::Error),
    /// The store holds a node name that is none.
    #[error("the store names a node that cannot be the start of an id")]
    Node,
}

impl Error {
    /// Whether no restart mends it: the operator must.
    #[must_use]
    pub fn is_hopeless(&self) -> bool {
        matches!(self, Self::Tls(error) if !error.may_pass())
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { doing, path: path.into(), source }
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The one error type of every route.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    pub(crate) message: Cow<'static, str>,
    pub(crate) cause: Option<Cause>,
    /// The name of the limit that was reached, for metrics, where the message has numbers in it.
    limit: Option<&'static str>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    pub(crate) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), cause: None, limit: None }
    }

    /// 400; the message starts with the name of the field.
    pub(crate) fn field(field: impl std::fmt::Display, rule: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, format!("{field}: {rule}"))
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404 of an object, whether it does not exist or belongs to another organisation.
    pub(crate) fn no_sandbox() -> Self {
        Self::new(StatusCode::NOT_FOUND, "sandbox not found")
    }

    pub(crate) fn internal(cause: impl Into<Cause>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal error").because(cause)
    }

    /// Adds what only our log shall say.
    pub(crate) fn because(mut self, cause: impl Into<Cause>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Names the limit that was reached.
    pub(crate) fn of_limit(mut self, name: &'static str) -> Self {
        self.limit = Some(name);
        self
    }

    /// The limit that refused this request, if one did: its name, or else the words of the refusal, which are ours.
    pub(crate) fn limit(&self) -> Option<&'static str> {
        let full = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::INSUFFICIENT_STORAGE,
        ];
        if !full.contains(&self.status) {
            return None;
        }
        let words = match &self.message {
            Cow::Borrowed(text) => Some(*text),
            Cow::Owned(_) => None,
        };
        Some(self.limit.or(words).unwrap_or("other"))
    }

    /// The causes, outermost first, for the log.
    pub(crate) fn chain(&self) -> String {
        self.cause.as_ref().map_or_else(String::new, |cause| chain(cause.as_ref()))
    }
}

impl From<crate::store::StoreError> for ApiError {
    fn from(error: crate::store::StoreError) -> Self {
        if error.is_no_room() {
            let text = "the server's disk is full: nothing that has to be remembered is accepted";
            return Self::new(StatusCode::INSUFFICIENT_STORAGE, text).because(error);
        }
        Self::internal(error)
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self::internal(error)
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
