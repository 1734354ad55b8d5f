//! The filter of the unprivileged half of a server. It lives here because the table does.

use crate::error::{Doing, Result};
use bulkhead_sys::call::process;
use bulkhead_sys::error::Context;
use bulkhead_sys::seccomp::{Profile, compile};

/// Takes from this process, for ever, every system call that a gateway has no use for. It must have one thread
/// and may gain no privileges any more (`no_new_privs`).
///
/// # Errors
/// As seccomp(2).
pub fn gateway() -> Result<()> {
    process::install_filter(&compile(Profile::Gateway))
        .during("seccomp", || "filter of the gateway".into())
        .doing("confine the gateway")
}
