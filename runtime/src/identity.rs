//! Becoming somebody else for the length of one clone.
//!
//! A user namespace must be created *by* an id of its range, or the kernel charges what happens in it to host
//! root (one sandbox could use up root's inotify instances). Its network namespace must be owned by the initial
//! user namespace, or root inside could change links, nftables and routes. So the one thread of this process
//! enters a new network namespace, takes the range's id while keeping 0 saved, clones, and takes both back.

use crate::error::{Doing, Result};
use crate::networks::Networks;
use crate::spec::TimeNamespaces;
use bulkhead_sys::call::process::{self, CapSets, Ids};
use bulkhead_sys::error::Context;
use bulkhead_sys::{caps, net, timens, uts};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::os::fd::{BorrowedFd, OwnedFd};

/// What this process is when it is itself.
#[derive(Debug)]
pub(crate) struct Home {
    network: OwnedFd,
    /// `None` on a kernel without time namespaces: there a sandbox sees the uptime of the host.
    time: Option<OwnedFd>,
    uts: OwnedFd,
    /// The supervisor that this process dies with, where it has one.
    supervisor: Option<Pid>,
}

impl Home {
    pub(crate) fn remember() -> Result<Self> {
        let signal = nix::sys::prctl::get_pdeathsig()
            .during("prctl", || "PR_GET_PDEATHSIG".into())
            .doing("remember the supervisor")?;
        let network = net::current().doing("remember the network namespace")?;
        let time = timens::current().doing("remember the time namespace")?;
        let uts = uts::current().doing("remember the host's name")?;
        Ok(Self { network, time, uts, supervisor: signal.map(|_| nix::unistd::getppid()) })
    }

    /// Whether sandboxes get a time namespace.
    pub(crate) fn time_namespaces(&self) -> TimeNamespaces {
        if self.time.is_some() { TimeNamespaces::There } else { TimeNamespaces::Missing }
    }

    /// Runs `clone` inside a network namespace that nobody was in and as `base`, able to enter any cgroup and nothing more.
    ///
    /// # Aborts
    /// When this process cannot become itself again: it would go on as somebody else.
    pub(crate) fn away<T>(
        &self,
        base: u32,
        networks: &mut Networks,
        clone: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let done = networks.enter().and_then(|()| self.begin_time()).and_then(|()| as_user(base, clone));
        self.stay_with_supervisor();
        self.come_back();
        done
    }

    /// Makes a network namespace for a launch to come.
    ///
    /// # Aborts
    /// As [`Self::away`].
    pub(crate) fn prepare_network(&self, networks: &mut Networks) -> Result<()> {
        let made = networks.make();
        self.come_back();
        made
    }

    fn come_back(&self) {
        let time = self.time.as_ref().map_or(Ok(()), timens::enter);
        if let Err(error) = net::enter(&self.network).and(time) {
            tracing::error!("cannot return to the host's namespaces: {}", crate::error::chain(&error));
            std::process::abort();
        }
    }

    /// Gives the sandbox of a process another host name.
    ///
    /// With [`Self::name_of`] the one place where this process enters a namespace of a live sandbox: a UTS namespace holds two strings, and
    /// no code of a tenant runs because somebody is in it.
    ///
    /// # Aborts
    /// As [`Self::away`].
    pub(crate) fn rename(&self, process: BorrowedFd<'_>, hostname: &str) -> Result<()> {
        self.among_names_of(process, || uts::set_hostname(hostname).doing("name a sandbox"))
    }

    /// The host name of the sandbox of a process, by the same way as [`Self::rename`].
    ///
    /// # Aborts
    /// As [`Self::away`].
    pub(crate) fn name_of(&self, process: BorrowedFd<'_>) -> Result<String> {
        self.among_names_of(process, || uts::hostname().doing("read the name of a sandbox"))
    }

    fn among_names_of<T>(&self, process: BorrowedFd<'_>, act: impl FnOnce() -> Result<T>) -> Result<T> {
        uts::enter_of(process).doing("enter the names of a sandbox")?;
        let done = act();
        if let Err(error) = uts::enter(&self.uts) {
            tracing::error!("cannot return to the host's names: {}", crate::error::chain(&error));
            std::process::abort();
        }
        done
    }

    fn begin_time(&self) -> Result<()> {
        if self.time.is_none() {
            return Ok(());
        }
        timens::begin_for_children().doing("make a time namespace")
    }

    /// A change of credentials takes the parent death signal away; a supervisor that died meanwhile is noticed
    /// here.
    fn stay_with_supervisor(&self) {
        let Some(supervisor) = self.supervisor else { return };
        let armed = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        if armed.is_err() || nix::unistd::getppid() != supervisor {
            tracing::error!("the supervisor is gone");
            std::process::abort();
        }
    }
}

fn as_user<T>(base: u32, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let done = take(base).and_then(|()| act());
    if let Err(errno) = process::become_root_again() {
        tracing::error!("cannot become root again: {errno}");
        std::process::abort();
    }
    done
}

fn take(base: u32) -> Result<()> {
    let ids = Ids { real: base, effective: base, saved: 0 };
    process::set_ids(ids, ids).during("setresuid", || base.to_string()).doing("take the id of a range")?;
    // The change of the effective id took everything out of force. The clone needs to write to the target
    // cgroup and to the common ancestor, which belong to root: this one capability is enough for it.
    let permitted =
        process::capabilities().during("capget", String::new).doing("take the id of a range")?.permitted;
    let sets = CapSets { effective: caps::DAC_OVERRIDE & permitted, permitted, inheritable: 0 };
    process::set_capabilities(sets).during("capset", String::new).doing("take the id of a range")
}
