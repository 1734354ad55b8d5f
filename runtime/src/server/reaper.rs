//! Deletion of disks and images, in a process of its own: a tree of a million files must not hold up a launch.

use super::poll::{Poll, Token};
use bulkhead_sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// A program that does something slow and ends.
#[derive(Debug, Clone)]
pub struct HelperCommand {
    /// Its executable.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl HelperCommand {
    /// To start it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        command
    }
}

/// At most one reaper, and whether another has to follow.
#[derive(Debug)]
pub(super) struct Reaper {
    command: HelperCommand,
    running: Option<(Child, OwnedFd)>,
    again: bool,
}

impl Reaper {
    pub(super) fn new(command: HelperCommand) -> Self {
        Self { command, running: None, again: false }
    }

    /// There is something in the trash.
    pub(super) fn start(&mut self, poll: &mut Poll) {
        if self.running.is_some() {
            self.again = true;
            return;
        }
        self.again = false;
        let child = match self.spawn() {
            Ok(child) => child,
            // The disks stay in the trash: the next destroy or start tries again.
            Err(error) => return tracing::error!(%error, "cannot start the reaper"),
        };
        let pid = i32::try_from(child.id()).unwrap_or(-1);
        match pidfd::open(pid) {
            Ok(handle) => {
                if let Err(error) = poll.add(handle.as_fd(), Token::Reaper) {
                    tracing::error!("{}", crate::error::chain(&error));
                }
                self.running = Some((child, handle));
            }
            Err(error) => tracing::error!("{}", crate::error::chain(&error)),
        }
    }

    fn spawn(&self) -> std::io::Result<Child> {
        self.command.command().stdin(Stdio::null()).stdout(Stdio::null()).spawn()
    }

    /// The reaper ended.
    pub(super) fn ended(&mut self, poll: &mut Poll) {
        let Some((mut child, handle)) = self.running.take() else { return };
        poll.remove(handle.as_fd());
        match child.wait() {
            Ok(status) if status.success() => {}
            Ok(status) => tracing::error!(%status, "the reaper left something in the trash"),
            Err(error) => tracing::error!(%error, "cannot wait for the reaper"),
        }
        if self.again {
            self.start(poll);
        }
    }

    /// Waits until the trash is empty; for a stop that destroyed everything.
    pub(super) fn wait(&mut self) {
        let Some((mut child, _)) = self.running.take() else { return };
        let mut waited = child.wait();
        // What came into the trash when that one had looked for the last time.
        if std::mem::take(&mut self.again) {
            waited = self.spawn().and_then(|mut child| child.wait());
        }
        if let Err(error) = waited {
            tracing::error!(%error, "cannot wait for the reaper");
        }
    }
}
