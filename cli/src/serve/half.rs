//! One half of a server as its supervisor sees it.

use crate::config::Flags;
use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long after its end a half is started again, at first.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// And at most: the pause doubles while it keeps dying.
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// A half that lived this long begins with the first pause again.
const STABLE: Duration = Duration::from_secs(10);

/// A half, running or due.
#[derive(Debug)]
pub(crate) struct Half {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<OsString>,
    child: Option<Child>,
    started: Instant,
    due: Instant,
    pause: Duration,
}

impl Half {
    /// `name` is the subcommand; the flags are passed on.
    pub(crate) fn new(name: &'static str, flags: &Flags) -> anyhow::Result<Self> {
        let now = Instant::now();
        Ok(Self {
            name,
            program: std::env::current_exe().context("find this program")?,
            arguments: arguments(name, flags)?,
            child: None,
            started: now,
            due: now,
            pause: FIRST_PAUSE,
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// When it has to be started, if it does not run.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.child.is_none().then_some(self.due)
    }

    pub(crate) fn start_if_due(&mut self, now: Instant) -> anyhow::Result<()> {
        if self.child.is_some() || self.due > now {
            return Ok(());
        }
        // A process group of its own: Ctrl-C at the terminal is for the supervisor, which stops halves in order.
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start the {}", self.name))?;
        self.child = Some(child);
        self.started = now;
        Ok(())
    }

    /// Its exit status, once, if it has ended; it is due again after a pause.
    pub(crate) fn reap(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let Some(status) = child.try_wait().with_context(|| format!("wait for the {}", self.name))? else {
            return Ok(None);
        };
        self.child = None;
        if self.started.elapsed() > STABLE {
            self.pause = FIRST_PAUSE;
        }
        self.due = Instant::now() + self.pause;
        tracing::warn!(%status, pause = ?self.pause, "the {} ended and is started again", self.name);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        Ok(Some(status))
    }

    /// Passes a hangup on: it reads its configuration again.
    pub(crate) fn reload(&self) -> anyhow::Result<()> {
        let Some(child) = &self.child else { return Ok(()) };
        let pid = Pid::from_raw(i32::try_from(child.id()).context("pid")?);
        // Not reaped yet, so the number is still its own.
        kill(pid, Signal::SIGHUP).with_context(|| format!("reload the {}", self.name))
    }

    /// Asks it to end, and ends it when it does not within `patience`.
    pub(crate) fn stop(&mut self, patience: Duration) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = Pid::from_raw(i32::try_from(child.id()).context("pid")?);
        // Not reaped yet, so the number is still its own.
        kill(pid, Signal::SIGTERM).with_context(|| format!("stop the {}", self.name))?;
        let until = Instant::now() + patience;
        while child.try_wait().with_context(|| format!("wait for the {}", self.name))?.is_none() {
            if Instant::now() > until {
                tracing::error!("the {} does not stop and is killed", self.name);
                child
                    .kill()
                    .and_then(|()| child.wait())
                    .with_context(|| format!("kill the {}", self.name))?;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// The command line of a half: every flag by the name that it has in a configuration file.
fn arguments(name: &str, flags: &Flags) -> anyhow::Result<Vec<OsString>> {
    let mut out: Vec<OsString> = vec![name.into()];
    for (key, value) in toml::Table::try_from(flags).context("pass the flags on")? {
        out.push(format!("--{key}").into());
        out.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned).into());
    }
    if let Some(config) = &flags.config {
        out.extend(["--config".into(), config.clone().into_os_string()]);
    }
    out.extend(["--supervisor".into(), std::process::id().to_string().into()]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command};
    use crate::config::{LogFormat, OnStop};
    use clap::Parser;

    #[test]
    fn a_half_gets_every_flag() {
        let flags = Flags {
            listen: Some("127.0.0.1:1".parse().unwrap()),
            state_dir: Some("/a b".into()),
            config: Some("/c".into()),
            pool: Some(3),
            on_stop: Some(OnStop::Destroy),
            memory_overcommit: Some(1.5),
            log_format: Some(LogFormat::Json),
            quota_streams: Some(9),
            ..Flags::default()
        };
        let words = arguments("gateway", &flags).unwrap();
        let cli = Cli::parse_from([OsString::from("bulkhead")].into_iter().chain(words));
        let Command::Gateway(passed) = cli.command else { panic!("another command") };
        let whole = Flags { supervisor: Some(i32::try_from(std::process::id()).unwrap()), ..flags };
        assert_eq!(format!("{passed:?}"), format!("{whole:?}"));
    }
}
