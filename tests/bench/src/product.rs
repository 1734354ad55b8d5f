//! One instance of the product in directories of its own.

use crate::client::Client;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long a start or a stop may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running instance; [`Instance::stop`] ends it and removes all that it owned.
pub(crate) struct Instance {
    program: PathBuf,
    directory: PathBuf,
    run: PathBuf,
    port: u16,
    pool: usize,
    key: String,
    serve: Child,
}

/// What an instance is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Places<'a> {
    /// The program.
    pub(crate) program: &'a Path,
    /// A directory to be made.
    pub(crate) directory: &'a Path,
    /// Its run directory, to be made.
    pub(crate) run: &'a Path,
    /// Sandboxes to be made ahead.
    pub(crate) pool: usize,
}

impl Instance {
    /// Starts `serve` and waits until it is healthy.
    pub(crate) fn start(places: Places<'_>) -> Result<Self> {
        let Places { program, directory, run, pool } = places;
        fs::create_dir(directory).with_context(|| format!("make {}", directory.display()))?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = File::create(directory.join("log"))?;
        // It ends with this process, however that ends.
        let serve = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program)
            .arg("serve")
            .args(["--listen", &format!("127.0.0.1:{port}"), "--pool", &pool.to_string(), "--state-dir"])
            .arg(directory.join("state"))
            .arg("--run-dir")
            .arg(run)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let (program, directory, run) = (program.to_owned(), directory.to_owned(), run.to_owned());
        let mut instance = Self { program, directory, run, port, pool, key: String::new(), serve };
        if let Err(error) = instance.wait_until_healthy() {
            let log = fs::read_to_string(instance.directory.join("log")).unwrap_or_default();
            report(instance.stop());
            return Err(error.context(format!("its log: {log}")));
        }
        Ok(instance)
    }

    /// A new connection with the key of the default organisation.
    pub(crate) fn connect(&self) -> Result<Client> {
        Client::connect(self.port, &self.key)
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The key of the default organisation.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Sandboxes that it makes ahead.
    pub(crate) fn pool(&self) -> usize {
        self.pool
    }

    /// The pid of `serve`, the parent of the other two.
    pub(crate) fn pid(&self) -> u32 {
        self.serve.id()
    }

    /// The program that runs.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Its state directory.
    pub(crate) fn state(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// The instance's own directory; more may be put there.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where the file system with the disks of its sandboxes is mounted.
    pub(crate) fn store(&self) -> PathBuf {
        self.run.join("store")
    }

    fn wait_until_healthy(&mut self) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.connect().and_then(|mut client| client.healthy()) {
            ensure!(self.serve.try_wait()?.is_none(), "serve ended at once");
            if Instant::now() > until {
                return Err(error.context("serve is not healthy"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        let key = self.directory.join("state/api-key");
        self.key =
            fs::read_to_string(&key).with_context(|| format!("read {}", key.display()))?.trim().to_owned();
        Ok(())
    }

    /// Ends the instance by SIGTERM (by SIGKILL where it does not listen) and purges what it owned.
    pub(crate) fn stop(mut self) -> Result<()> {
        if self.serve.try_wait()?.is_none() {
            kill(Pid::from_raw(i32::try_from(self.serve.id())?), Signal::SIGTERM)?;
        }
        let until = Instant::now() + PATIENCE;
        while self.serve.try_wait()?.is_none() {
            if Instant::now() > until {
                eprintln!("bench: serve does not end; killing it");
                self.serve.kill()?;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let purged = Command::new(&self.program)
            .args(["purge", "--state-dir"])
            .arg(self.directory.join("state"))
            .stdout(Stdio::null())
            .status()?;
        ensure!(purged.success(), "purge ended with {purged}");
        Ok(())
    }
}

/// For failures on the way out, which must not hide the first one.
fn report(outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("bench: {error:#}");
    }
}
