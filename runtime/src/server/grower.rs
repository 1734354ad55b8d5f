//! Who keeps room in the volume of disks: a process of its own, since a commit of the file system under load would hold
//! up launches. It ends with this one, and another takes its place if it ends before.

use super::poll::{Poll, Token};
use super::reaper::HelperCommand;
use crate::error::{Doing, Result, chain};
use bulkhead_sys::error::Context;
use bulkhead_sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Pause before another one is started.
const PAUSE: Duration = Duration::from_secs(1);

/// The one that runs, or when the next begins.
#[derive(Debug)]
pub(super) struct Grower {
    command: HelperCommand,
    running: Option<(Child, OwnedFd)>,
    due: Option<Instant>,
}

impl Grower {
    pub(super) fn new(command: HelperCommand) -> Self {
        Self { command, running: None, due: Some(Instant::now()) }
    }

    /// When there is something to do.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts the next one when it is due.
    pub(super) fn tick(&mut self, poll: &mut Poll) {
        if self.due.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.due = None;
        match self.start(poll) {
            Ok(running) => self.running = Some(running),
            Err(error) => {
                tracing::error!("{}", chain(&error));
                self.due = Some(Instant::now() + PAUSE);
            }
        }
    }

    fn start(&self, poll: &mut Poll) -> Result<(Child, OwnedFd)> {
        const DOING: &str = "start who keeps room for disks";
        let mut child = self
            .command
            .command()
            .arg("--parent")
            .arg(std::process::id().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .during("spawn", || self.command.program.display().to_string())
            .doing(DOING)?;
        watch(&child, poll)
            .or_else(|error| {
                let ended = child.kill().and_then(|()| child.wait());
                ended.map(drop).during("kill", || "a child".into()).doing(DOING).and(Err(error))
            })
            .map(|handle| (child, handle))
    }

    /// It ended by itself.
    pub(super) fn ended(&mut self, poll: &mut Poll) {
        let Some((mut child, handle)) = self.running.take() else { return };
        poll.remove(handle.as_fd());
        match child.wait() {
            Ok(status) => tracing::error!(%status, "who keeps room for disks ended"),
            Err(error) => tracing::error!(%error, "cannot wait for who keeps room for disks"),
        }
        self.due = Some(Instant::now() + PAUSE);
    }

    /// Ends it: the volume may be unmounted after this.
    pub(super) fn stop(&mut self) {
        let Some((mut child, _)) = self.running.take() else { return };
        if let Err(error) = child.kill().and_then(|()| child.wait()) {
            tracing::error!(%error, "cannot end who keeps room for disks");
        }
    }
}

fn watch(child: &Child, poll: &mut Poll) -> Result<OwnedFd> {
    let number = i32::try_from(child.id()).unwrap_or(-1);
    let handle = pidfd::open(number).doing("watch who keeps room for disks")?;
    poll.add(handle.as_fd(), Token::Grower)?;
    Ok(handle)
}
