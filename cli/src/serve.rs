//! `bulkhead serve`: a supervisor with one thread that starts both halves and restarts one that dies.
//!
//! Sandboxes outlive it: the halves die with it, the sandboxes do not, and the next start adopts them.

mod half;

use crate::client::{self, Runtime};
use crate::config::{Flags, OnStop, Settings};
use crate::output;
use crate::process::{EXIT_CONFIG, Refusal};
use anyhow::{Context, anyhow};
use bulkhead_protocol::image::ImageName;
use bulkhead_protocol::runtime::{Call, Reply};
use half::Half;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// How long the gateway may drain its connections, then how long the runtime may take to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(15);
/// The same for a runtime that destroys its sandboxes first.
const DESTROY_PATIENCE: Duration = Duration::from_secs(40);
/// What a sandbox is made of that asks for nothing else.
const IMAGE: &str = "code";
/// How long each answer about that image may take: one thread starts halves, and must not wait for one of them.
const IMAGE_PATIENCE: Duration = Duration::from_secs(2);
/// How often readiness is looked for.
const READY_INTERVAL: Duration = Duration::from_millis(20);

pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let mut settings = flags.settings().context(Refusal)?;
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow!("serve needs root: it starts a privileged runtime and an unprivileged gateway")
            .context(Refusal));
    }
    let signals = block_signals()?;
    let mut halves = [Half::new("runtime", flags)?, Half::new("gateway", flags)?];
    let mut announced = false;
    loop {
        let now = Instant::now();
        for half in &mut halves {
            half.start_if_due(now)?;
        }
        announced = announced || announce_when_ready(&settings);
        let wait = next_wakeup(&halves, announced, now);
        match wait_for_signal(&signals, wait)? {
            Some(Signal::SIGCHLD) | None => {
                for half in &mut halves {
                    if let Some(status) = half.reap()?
                        && status.code() == Some(i32::from(EXIT_CONFIG))
                    {
                        let name = half.name();
                        stop(&mut halves, &settings)?;
                        return Err(
                            anyhow!("the {name} cannot work on this host as configured").context(Refusal)
                        );
                    }
                }
            }
            Some(Signal::SIGHUP) => reload(&halves, flags, &mut settings)?,
            Some(signal) => {
                stop(&mut halves, &settings)?;
                if signal == Signal::SIGINT {
                    say_what_is_left(&settings);
                }
                return Ok(());
            }
        }
    }
}

/// Each half reads the configuration again by itself and says what is wrong with it; here only what becomes of sandboxes
/// counts, for how long a stop may take.
fn reload(halves: &[Half], flags: &Flags, settings: &mut Settings) -> anyhow::Result<()> {
    if let Ok(new) = flags.settings() {
        settings.on_stop = new.on_stop;
    }
    halves.iter().try_for_each(Half::reload)
}

fn block_signals() -> anyhow::Result<SignalFd> {
    let set = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGCHLD]);
    set.thread_block().context("block signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")
}

/// When something is due without a signal.
fn next_wakeup(halves: &[Half], announced: bool, now: Instant) -> Option<Duration> {
    let restart = halves.iter().filter_map(Half::due).map(|at| at.saturating_duration_since(now)).min();
    if announced { restart } else { Some(restart.unwrap_or(READY_INTERVAL).min(READY_INTERVAL)) }
}

fn wait_for_signal(signals: &SignalFd, wait: Option<Duration>) -> anyhow::Result<Option<Signal>> {
    let timeout = match wait {
        Some(wait) => PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX),
        None => PollTimeout::NONE,
    };
    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    match poll(&mut fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno).context("poll"),
    }
    let Some(info) = signals.read_signal().context("read a signal")? else { return Ok(None) };
    let number = i32::try_from(info.ssi_signo).context("signal number")?;
    Ok(Some(Signal::try_from(number).context("signal number")?))
}

/// Says once where the API is and how to speak to it.
fn announce_when_ready(settings: &Settings) -> bool {
    let key_file = settings.state_dir.join("api-key");
    let has_key = std::fs::metadata(&key_file).is_ok_and(|meta| meta.len() > 0);
    if !has_key || TcpStream::connect_timeout(&settings.listen, Duration::from_millis(50)).is_err() {
        return false;
    }
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let (key, url) = (key_file.display(), format!("{scheme}://{}/api", settings.listen));
    let usual = usual_image(settings).map(|says| format!("{says}\n")).unwrap_or_else(|error| {
        tracing::warn!("which image {IMAGE} is: {error:#}");
        String::new()
    });
    let told = output::line(format_args!(
        "bulkhead serves on {url}\n{usual}the API key is in {key}; try:\n  curl -sS -H \"X-API-Key: $(cat {key})\" \
         -H 'Content-Type: application/json' -d '{{\"name\":\"hello\"}}' {url}/sandboxes"
    ));
    if let Err(error) = told {
        tracing::warn!(%error, "cannot say where the API is");
    }
    true
}

/// Which image a sandbox gets that asks for none.
fn usual_image(settings: &Settings) -> anyhow::Result<String> {
    let image = ImageName::parse(IMAGE)?;
    let mut runtime = Runtime::connect_within(&settings.run_dir, IMAGE_PATIENCE)?;
    match runtime.call(Call::ResolveImage { org: None, image })? {
        Reply::Image(found) if found.id.is_host() => Ok(format!(
            "image {IMAGE}: this host's own /usr, for development; `bulkhead image build {IMAGE}` makes one that shows \
             nothing of the host"
        )),
        Reply::Image(found) => Ok(format!("image {IMAGE}: {}", found.id)),
        other => Err(client::unexpected(other)),
    }
}

/// Stops the gateway first: it drains while the runtime still answers.
fn stop(halves: &mut [Half; 2], settings: &Settings) -> anyhow::Result<()> {
    let [runtime, gateway] = halves;
    gateway.stop(STOP_PATIENCE)?;
    runtime.stop(match settings.on_stop {
        OnStop::Keep => STOP_PATIENCE,
        OnStop::Destroy => DESTROY_PATIENCE,
    })
}

fn say_what_is_left(settings: &Settings) {
    let Ok(entries) = std::fs::read_dir(settings.run_dir.join("intents")) else { return };
    let records =
        entries.flatten().filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json"));
    match records.count() {
        0 => {}
        count => eprintln!("{count} sandboxes live on; the next start with the same directories adopts them"),
    }
}
