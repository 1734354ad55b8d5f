//! Network namespaces made ahead: a new one is a third of what a launch does in this process.
//!
//! They are made one at a time while nothing else is to be done. Each is given away once; what is left ends with this
//! process.

use crate::error::{Doing, Result};
use bulkhead_sys::call::mount::attr;
use bulkhead_sys::error::Context;
use bulkhead_sys::{filesystem, net};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// Most that are kept: more than a burst takes before there is a quiet moment, and each is some 100 KiB of the kernel's
/// memory.
const MOST: usize = 16;
/// How long nothing may have happened before one is made: a request under way comes first.
pub(crate) const QUIET: Duration = Duration::from_millis(3);
/// How long nothing is tried after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Network namespaces that are set up through one instance of `/proc`. The kernel keeps an entry of each under the same
/// name and looks at one after the other: behind a thousand of them an open takes half a millisecond.
const PER_INSTANCE: u32 = 32;

/// The namespaces that are ready.
#[derive(Debug)]
pub(crate) struct Networks {
    ready: Vec<OwnedFd>,
    wanted: usize,
    not_before: Option<Instant>,
    knobs: Option<Knobs>,
}

/// An instance of `/proc` that stands nowhere, and how many namespaces it is still good for.
#[derive(Debug)]
struct Knobs {
    proc: OwnedFd,
    left: u32,
}

impl Networks {
    /// `wanted` of them at most; 0 is none at all.
    pub(crate) fn new(wanted: usize) -> Self {
        Self { ready: Vec::new(), wanted: wanted.min(MOST), not_before: None, knobs: None }
    }

    /// Changes how many are kept; those beyond it go.
    pub(crate) fn want(&mut self, wanted: usize) {
        self.wanted = wanted.min(MOST);
        self.ready.truncate(self.wanted);
    }

    /// Whether one should be made when there is time.
    pub(crate) fn lacks(&self) -> bool {
        self.ready.len() < self.wanted && self.not_before.is_none_or(|time| Instant::now() > time)
    }

    /// Moves this process into one that nobody was in, made ahead or now. The caller goes back to its own.
    pub(crate) fn enter(&mut self) -> Result<()> {
        match self.ready.pop() {
            Some(ready) => net::enter(&ready).doing("enter a network namespace"),
            None => self.enter_new(),
        }
    }

    /// Makes one and keeps it; this process is in it then, as after [`Self::enter`].
    pub(crate) fn make(&mut self) -> Result<()> {
        let made = self.enter_new().and_then(|()| net::current().doing("keep a network namespace"));
        match made {
            Ok(namespace) => self.ready.push(namespace),
            Err(error) => {
                self.not_before = Some(Instant::now() + PAUSE);
                return Err(error);
            }
        }
        Ok(())
    }

    /// A network of its own: loopback, up, and low ports for everybody inside.
    fn enter_new(&mut self) -> Result<()> {
        net::enter_new().doing("make a network namespace")?;
        net::bring_loopback_up().doing("bring loopback up")?;
        let mut knobs = match self.knobs.take() {
            Some(knobs) if knobs.left > 0 => knobs,
            _ => Knobs::make().doing("make a /proc")?,
        };
        knobs.write("sys/net/ipv4/ip_unprivileged_port_start", b"0").doing("open low ports")?;
        self.knobs = Some(knobs);
        Ok(())
    }
}

impl Knobs {
    fn make() -> bulkhead_sys::Result<Self> {
        let closed = attr::NOSUID | attr::NODEV | attr::NOEXEC;
        Ok(Self { proc: filesystem::make(c"proc", &[], closed)?, left: PER_INSTANCE })
    }

    /// Writes a knob of the namespace that this process is in.
    fn write(&mut self, name: &str, value: &[u8]) -> bulkhead_sys::Result<()> {
        let label = || format!("/proc/{name}");
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let knob = openat(&self.proc, name, flags, Mode::empty()).during("openat", label)?;
        nix::unistd::write(&knob, value).during("write", label)?;
        self.left -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_so_many_are_wanted() {
        assert!(!Networks::new(0).lacks());
        let mut some = Networks::new(1000);
        assert_eq!((some.wanted, some.lacks()), (MOST, true));
        some.not_before = Some(Instant::now() + PAUSE);
        assert!(!some.lacks());
    }
}
