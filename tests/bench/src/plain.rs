//! The plain hyper process that streams and files are measured beside.

use anyhow::{Context, Result};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The process; ended when it goes.
pub(crate) struct Peer {
    port: u16,
    process: Child,
}

impl Peer {
    /// One that answers with the output of a script for bash.
    pub(crate) fn of_output(script: &str) -> Result<Self> {
        Self::start(|command| command.args(["output", script]))
    }

    /// One that sends and stores a file of this directory.
    pub(crate) fn of_files(directory: &Path) -> Result<Self> {
        Self::start(|command| command.arg("files").arg(directory))
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    fn start(arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<Self> {
        let program = std::env::current_exe()?.with_file_name("bulkhead-bench-peer");
        let mut command = Command::new(&program);
        arguments(&mut command).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = command.spawn().with_context(|| format!("start {}", program.display()))?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().context("it has a pipe")?).read_line(&mut line)?;
        Ok(Self { port: line.trim().parse().context("the peer's port")?, process })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            eprintln!("bench: the peer did not end: {error}");
        }
    }
}
