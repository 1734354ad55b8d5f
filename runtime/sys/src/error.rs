//! What a system call was asked to do when it failed; prints like strace.

use nix::errno::Errno;

/// A failed system call with its argument and error number.
#[derive(Debug, thiserror::Error)]
#[error("{call}({on})")]
pub struct Error {
    /// The call, by its name in section 2 of the manual.
    pub call: &'static str,
    /// What it was about: a path, a descriptor, a number.
    pub on: String,
    /// Why it failed.
    #[source]
    pub errno: Errno,
}

/// Result of a system call.
pub type Result<T> = std::result::Result<T, Error>;

/// Adds the call and its argument to an error number.
pub trait Context<T> {
    /// `on` is evaluated only on failure.
    ///
    /// # Errors
    /// Whatever `self` holds, with its context.
    fn during(self, call: &'static str, on: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Context<T> for std::result::Result<T, Errno> {
    fn during(self, call: &'static str, on: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error { call, on: on(), errno })
    }
}

impl<T> Context<T> for std::io::Result<T> {
    fn during(self, call: &'static str, on: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error {
            call,
            on: on(),
            errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)),
        })
    }
}
