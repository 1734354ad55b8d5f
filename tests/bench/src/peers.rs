//! Other ways to start a program, from a bare spawn to OCI runtimes.

use crate::bundle;
use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Where a hybrid host mounts the v2 tree.
const UNIFIED: &str = "/sys/fs/cgroup/unified";
const BUSYBOX: &str = "/bin/busybox";

/// Starts a program and waits for it; `Command` spawns as `posix_spawn` does, without copying this process.
pub(crate) fn timed(command: &mut Command) -> Result<Duration> {
    let began = Instant::now();
    let status = command.status()?;
    let took = began.elapsed();
    ensure!(status.success(), "{:?} ended with {status}", command.get_program());
    Ok(took)
}

/// A bare `bash -c true`.
pub(crate) fn bash() -> Result<Duration> {
    timed(Command::new("/bin/bash").args(["-c", "true"]).env_clear().stdin(Stdio::null()))
}

/// A bare static `true`.
pub(crate) fn static_true() -> Result<Duration> {
    timed(Command::new(BUSYBOX).arg("true").env_clear().stdin(Stdio::null()))
}

/// Runs the peers on a thread with a mount namespace of its own, in which a hybrid host looks like a pure v1
/// one: crun refuses a v2 tree with controllers beside the v1 groups.
pub(crate) struct Peers {
    directory: PathBuf,
    group: String,
    commands: Sender<Command>,
    times: Receiver<Result<Duration>>,
}

impl Peers {
    /// Makes the bundles below `directory` and the thread.
    pub(crate) fn start(directory: &Path) -> Result<Self> {
        fs::create_dir(directory)?;
        let group = format!("/bulkhead-bench-{}", id());
        for name in ["plain", "fair", "empty"] {
            fs::create_dir(directory.join(name))?;
        }
        bundle::plain(&directory.join("plain"), &group, Path::new(BUSYBOX))?;
        bundle::fair(&directory.join("fair"), &group)?;
        let (commands, incoming) = channel();
        let (outgoing, times) = channel();
        let empty = directory.join("empty");
        thread::spawn(move || serve(&empty, &incoming, &outgoing));
        Ok(Self { directory: directory.to_owned(), group, commands, times })
    }

    /// `RUNTIME run` of a bundle, teardown included.
    pub(crate) fn oci(&self, runtime: &str, bundle: &str, round: usize) -> Result<Duration> {
        let mut command = Command::new(runtime);
        command.arg("--root").arg(self.directory.join(runtime)).arg("run").arg("--bundle");
        command.arg(self.directory.join(bundle)).arg(format!("bench-{}-{bundle}-{round}", id()));
        self.run(command)
    }

    /// bubblewrap with all namespaces over the host's `/usr`; it knows neither limits nor a filter.
    pub(crate) fn bwrap(&self) -> Result<Duration> {
        let mut command = Command::new("bwrap");
        command.args(["--unshare-all", "--ro-bind", "/usr", "/usr", "--symlink", "usr/bin", "/bin"]);
        command.args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
        command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/bin/true"]);
        self.run(command)
    }

    fn run(&self, mut command: Command) -> Result<Duration> {
        let log = self.directory.join("log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        self.commands.send(command).map_err(|_| anyhow!("the peers' thread has ended"))?;
        let took = self.times.recv().context("the peers' thread has ended")?;
        took.with_context(|| fs::read_to_string(&log).unwrap_or_default())
    }

    /// Removes the groups that a runtime may have left, and says so.
    pub(crate) fn clean(&self) -> Result<()> {
        let below = |top: &str| Path::new(top).join(self.group.trim_start_matches('/'));
        let mut left = vec![below("/sys/fs/cgroup")];
        for controller in fs::read_dir("/sys/fs/cgroup")?.flatten() {
            left.push(controller.path().join(self.group.trim_start_matches('/')));
        }
        for directory in left.into_iter().filter(|directory| directory.exists()) {
            eprintln!("bench: a peer left {}", directory.display());
            fs::remove_dir(&directory).with_context(|| format!("remove {}", directory.display()))?;
        }
        Ok(())
    }
}

fn serve(empty: &Path, commands: &Receiver<Command>, times: &Sender<Result<Duration>>) {
    let hidden = hide_unified(empty);
    for mut command in commands {
        let outcome = match &hidden {
            Ok(()) => timed(&mut command),
            Err(error) => Err(anyhow!("{error:#}")),
        };
        if times.send(outcome).is_err() {
            return;
        }
    }
}

/// Gives the calling thread a mount namespace in which an empty directory covers a hybrid host's v2 tree.
fn hide_unified(empty: &Path) -> Result<()> {
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).context("unshare the mount namespace")?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).context("make / private")?;
    match Path::new(UNIFIED).metadata() {
        Ok(_) => mount(Some(empty), UNIFIED, none, MsFlags::MS_BIND, none).context("hide the v2 tree"),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => bail!("look at {UNIFIED}: {error}"),
    }
}
