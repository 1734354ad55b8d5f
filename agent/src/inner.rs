//! The inner init: the process that is PID 1 of the commands' pid namespace, and the agent's watch over it.
//!
//! The init reaps orphans, waits for nothing else and holds nothing. The agent reaps its own children, each by
//! its pidfd, and never by "any child": nobody waits for a process that another waits for.

use crate::watch::watch;
use bulkhead_sys::call::process::{Dumpable, set_dumpable};
use bulkhead_sys::{Error, pidfd};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Number of the init as the agent sees it: the agent is the first process of the outer pid namespace, and the
/// init is the first that it cloned.
const INIT_PID: i32 = 2;
/// Number of an agent that a runtime launched.
const AGENT_PID: u32 = 1;

/// The life of the init: reaps whatever the kernel hands to it.
///
/// Not dumpable first: tenant root can take this process's id, and would then own its memory through /proc.
/// `SIGCHLD` is blocked, not ignored, so that it stays pending from the moment on: none is missed between the
/// last look and the wait.
pub(crate) fn reap_for_ever() -> ExitCode {
    let mut child_ended = SigSet::empty();
    child_ended.add(Signal::SIGCHLD);
    if set_dumpable(Dumpable::No).is_err() || child_ended.thread_block().is_err() {
        return ExitCode::FAILURE;
    }
    loop {
        reap_ended();
        if child_ended.wait().is_err() {
            return ExitCode::FAILURE;
        }
    }
}

fn reap_ended() {
    loop {
        match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// The agent's view of the init.
#[derive(Debug)]
pub(crate) enum Inner {
    /// Watched.
    Init(AsyncFd<OwnedFd>),
    /// This agent is no PID 1 and has none: it was started without an inner pid namespace.
    Absent,
}

/// Finds the init.
///
/// # Errors
/// A launched agent whose init is missing, or has ended already, must not serve.
pub(crate) fn find() -> Result<Inner, Error> {
    match pidfd::open(INIT_PID).and_then(|process| Ok((pidfd::try_wait(process.as_fd())?, process))) {
        Ok((None, process)) => {
            let watched = watch(process, Interest::READABLE);
            watched.map(Inner::Init).map_err(|error| ended("epoll_ctl", &error))
        }
        Ok((Some(exit), _)) => {
            Err(Error { call: "waitid", on: format!("init, {exit:?}"), errno: Errno::ECHILD })
        }
        // Somebody else's child, or nobody: we were not launched into namespaces of our own.
        Err(_) if std::process::id() != AGENT_PID => Ok(Inner::Absent),
        Err(error) => Err(error),
    }
}

fn ended(call: &'static str, error: &std::io::Error) -> Error {
    Error { call, on: "init".into(), errno: Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)) }
}

impl Inner {
    /// Comes back when the init has ended: every command is dead then, and none can be started any more.
    pub(crate) async fn ended(&self) -> std::io::Result<()> {
        match self {
            Inner::Init(process) => process.readable().await.map(drop),
            Inner::Absent => std::future::pending().await,
        }
    }
}
