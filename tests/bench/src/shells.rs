//! Programs on a terminal of this host, without anything in between.

use anyhow::{Context, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A program and the master of its terminal.
pub(crate) struct Local {
    master: OwnedFd,
    process: Child,
}

impl Local {
    /// Starts a program with a new terminal that controls it.
    pub(crate) fn start(program: &[&str]) -> Result<Self> {
        let pair = openpty(None, None)?;
        let end = || -> Result<Stdio> { Ok(Stdio::from(pair.slave.try_clone()?)) };
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait"]).args(program).env("TERM", "xterm-256color");
        command.stdin(end()?).stdout(end()?).stderr(end()?);
        let process = command.spawn().context("start setsid of util-linux")?;
        Ok(Self { master: pair.master, process })
    }

    /// Types.
    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        ensure!(nix::unistd::write(&self.master, bytes)? == bytes.len(), "a terminal that takes no input");
        Ok(())
    }

    /// What it shows next; nothing when `time` is over.
    pub(crate) fn receive(&self, time: Duration) -> Result<Vec<u8>> {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::try_from(time)?)? == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = [0; 4096];
        let count = nix::unistd::read(&self.master, &mut buffer)?;
        Ok(buffer[..count].to_vec())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // The program below setsid gets a hang-up when its terminal goes.
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("bench: a local program did not end: {error}");
        }
    }
}
