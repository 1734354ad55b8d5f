//! The filter of the unprivileged half of a server. It lives here because the table does.

use crate::error::{Doing, Result};
use bulkhead_sys::call::process;
use bulkhead_sys::error::Context;
use bulkhead_sys::seccomp::{Profile, compile};

/// Over which sockets a gateway reaches agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Unix sockets alone: all agents run on this kernel.
    Unix,
    /// Streams of AF_VSOCK too (vsock(7)). There is no finer choice: the kernel asks for no right to reach any machine of
    /// the host, or the host around this machine.
    Vsock,
}

/// Takes from this process, for ever, every system call that a gateway has no use for. It must have one thread
/// and may gain no privileges any more (`no_new_privs`).
///
/// # Errors
/// As seccomp(2).
pub fn gateway(reach: Reach) -> Result<()> {
    let profile = match reach {
        Reach::Unix => Profile::Gateway,
        Reach::Vsock => Profile::GatewayOfMachines,
    };
    process::install_filter(&compile(profile))
        .during("seccomp", || "filter of the gateway".into())
        .doing("confine the gateway")
}
