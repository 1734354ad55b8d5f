//! The configuration of a server: flags, the file whose keys are their names, and defaults. Flags win over the file.

mod file;
mod images;
mod reload;
mod show;

use images::{ImageSettings, OwnDirectories};
pub(crate) use reload::{Half, needs_restart};
pub(crate) use show::show;

use crate::process::Refusal;
use anyhow::Context;
use bulkhead_gateway::Quota;
use bulkhead_protocol::image::ImageName;
use bulkhead_runtime::confine::Reach;
use bulkhead_runtime::{CgroupParent, ImagePolicy, Overcommit};
use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 33944);
/// Where state lies when nothing else is said.
pub(crate) const STATE_DIR: &str = "/var/lib/bulkhead";
/// Where the instance of a state directory runs when nothing else is said.
pub(crate) const RUN_DIR: &str = "/run/bulkhead";
const AGENT: &str = "bulkhead-agent";
/// What is logged when nothing else is said.
pub(crate) const LOG: &str = "info";
const GATEWAY_USER: &str = "bulkhead";
const GATEWAY_UID: u32 = 64_901;
/// As many as a burst of creates may need; each costs what a sandbox costs.
const MAX_POOL: usize = 256;

const IMAGE_SWEEP: Duration = Duration::from_secs(300);
const IMAGE_SWEEPS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(86_400);

/// What becomes of sandboxes when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnStop {
    /// They live on and the next start adopts them.
    Keep,
    /// They are destroyed.
    Destroy,
}

/// Whether anybody may make an organisation over the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Register {
    /// `POST /api/register` makes one for everybody.
    On,
    /// There is no such route.
    Off,
}

/// Whether agents may be in virtual machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum VsockAgents {
    /// The gateway may make sockets of AF_VSOCK.
    On,
    /// It cannot.
    Off,
}

/// Who has the unpacked layers of an image that an organisation imports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Layers {
    /// All that import the same.
    Shared,
    /// That organisation alone.
    PerTenant,
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each.
    Json,
}

/// Flags of a server; each may stand in the configuration file instead.
#[derive(Debug, Default, Clone, Args, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Flags {
    /// Address and port of the API [default: 127.0.0.1:33944]
    #[arg(long)]
    pub(crate) listen: Option<SocketAddr>,
    /// Directory of state that outlives a reboot [default: /var/lib/bulkhead]
    #[arg(long)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Directory of state of this boot [default: /run/bulkhead]
    #[arg(long)]
    pub(crate) run_dir: Option<PathBuf>,
    /// A TOML file whose keys are these flags' names; flags win
    #[arg(long)]
    #[serde(skip)]
    pub(crate) config: Option<PathBuf>,
    /// The agent's program [default: bulkhead-agent beside this one]
    #[arg(long)]
    pub(crate) agent: Option<PathBuf>,
    /// Sandboxes made ahead, at most 256 [default: 0]
    #[arg(long)]
    pub(crate) pool: Option<usize>,
    /// Address and port of the metrics [default: none]
    #[arg(long)]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// What becomes of sandboxes when the server stops, keep or destroy [default: keep]
    #[arg(long, value_enum)]
    pub(crate) on_stop: Option<OnStop>,
    /// Most memory that all sandboxes together may be promised, as a factor of the host's, 0.01 to 1000 [default: no bound]
    #[arg(long)]
    pub(crate) memory_overcommit: Option<f64>,
    /// Cgroup of the v2 tree below which those of sandboxes lie, a slice of systemd's as a rule [default: its root]
    #[arg(long)]
    pub(crate) cgroup_parent: Option<PathBuf>,
    /// Seconds between two looks for images that no name and no sandbox needs, 1 to 86400; what two of them find is deleted
    /// [default: 300]
    #[arg(long)]
    pub(crate) image_sweep: Option<u64>,
    /// Who has the files of an image that an organisation imports, shared or per-tenant: with the latter they are on the disk and
    /// in the page cache once for each organisation, and nobody learns by them what others have; images of the host are
    /// everybody's, and what is stored already stays as it is [default: shared]
    #[arg(long, value_enum)]
    pub(crate) layers: Option<Layers>,
    /// Whether anybody may make an organisation over the API, on or off [default: off]
    #[arg(long, value_enum)]
    pub(crate) register: Option<Register>,
    /// Whether the gateway may reach agents in virtual machines, over vsock(7), on or off [default: off]
    #[arg(long, value_enum)]
    pub(crate) vsock_agents: Option<VsockAgents>,
    /// User that the gateway runs as [default: bulkhead where it exists, else uid 64901]
    #[arg(long)]
    pub(crate) gateway_user: Option<String>,
    /// File with the certificate of the API and those between it and its root (PEM); with it the API speaks TLS [default: none]
    #[arg(long)]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// File with its private key (PEM), which nobody else may be able to read [default: none]
    #[arg(long)]
    pub(crate) tls_key: Option<PathBuf>,
    /// What is logged: error, warn, info, debug or trace, or directives of tracing's EnvFilter; the variable BULKHEAD_LOG wins [default: info]
    #[arg(long)]
    pub(crate) log: Option<String>,
    /// How it is logged, text or json [default: text]
    #[arg(long, value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// Sandboxes of an organisation with no quota of its own [default: 1000]
    #[arg(long)]
    pub(crate) quota_sandboxes: Option<u64>,
    /// Processors of its sandboxes that are awake [default: 8000]
    #[arg(long)]
    pub(crate) quota_cpus: Option<u64>,
    /// MiB of memory of its sandboxes that are awake [default: 4194304]
    #[arg(long)]
    pub(crate) quota_memory_mib: Option<u64>,
    /// Executions that its connections hold [default: 1024]
    #[arg(long)]
    pub(crate) quota_executions: Option<u64>,
    /// Its streams of events, WebSockets and waits [default: 1024]
    #[arg(long)]
    pub(crate) quota_streams: Option<u64>,
    /// Bytes sent to it per second [default: 1073741824]
    #[arg(long)]
    pub(crate) quota_bytes_per_second: Option<u64>,
    /// Its requests per second [default: 2000]
    #[arg(long)]
    pub(crate) quota_requests_per_second: Option<u64>,
    /// Names of images of its own [default: 100]
    #[arg(long)]
    pub(crate) quota_images: Option<u64>,
    /// MiB of the files of those [default: 20480]
    #[arg(long)]
    pub(crate) quota_image_mib: Option<u64>,
    /// Settings of images, which stand in the file alone.
    #[arg(skip)]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) images: BTreeMap<String, ImageSettings>,
    /// Pid of the supervisor: the half ends when that is gone.
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub(crate) supervisor: Option<i32>,
}

/// Where certificate and key lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Flags with every default filled in.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) state_dir: PathBuf,
    pub(crate) run_dir: PathBuf,
    pub(crate) agent: PathBuf,
    pub(crate) pool: usize,
    pub(crate) metrics_listen: Option<SocketAddr>,
    pub(crate) on_stop: OnStop,
    pub(crate) memory_overcommit: Option<Overcommit>,
    pub(crate) cgroup_parent: CgroupParent,
    pub(crate) image_sweep: Duration,
    pub(crate) layers: Layers,
    pub(crate) register: Register,
    pub(crate) vsock_agents: VsockAgents,
    pub(crate) gateway_uid: u32,
    pub(crate) tls: Option<TlsFiles>,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) quota: Quota,
    pub(crate) images: BTreeMap<ImageName, ImagePolicy>,
    pub(crate) supervisor: Option<i32>,
}

impl Settings {
    /// Over what the gateway reaches agents.
    pub(crate) fn reach(&self) -> Reach {
        match self.vsock_agents {
            VsockAgents::On => Reach::Vsock,
            VsockAgents::Off => Reach::Unix,
        }
    }
}

/// Everything that is wrong with a configuration, one line each, with its place.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults(Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

impl Faults {
    /// The value, or its default where it is wrong, which is noted.
    fn note<T>(&mut self, value: anyhow::Result<T>, default: T) -> T {
        value.unwrap_or_else(|error| {
            self.0.push(format!("{error:#}"));
            default
        })
    }
}

/// What is done with the settings of images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Images {
    Checked,
    PassedOver,
}

/// `bulkhead config check`.
pub(crate) fn check(flags: &Flags) -> anyhow::Result<()> {
    let settings = flags.settings().context(Refusal)?;
    crate::operator::check(&settings).context(Refusal)
}

/// Who a gateway runs as when nothing else is said.
pub(crate) fn usual_gateway_uid() -> anyhow::Result<u32> {
    gateway_uid(None)
}

impl Flags {
    /// Reads the configuration file, if there is one, and fills in defaults.
    ///
    /// # Errors
    /// [`Faults`]: everything that is wrong, at once.
    pub(crate) fn settings(&self) -> Result<Settings, Faults> {
        self.settings_of(Images::Checked)
    }

    /// The same for the half that has nothing to do with images, and may not see what they show.
    ///
    /// # Errors
    /// [`Faults`].
    pub(crate) fn settings_of_gateway(&self) -> Result<Settings, Faults> {
        self.settings_of(Images::PassedOver)
    }

    fn settings_of(&self, images: Images) -> Result<Settings, Faults> {
        let (file, faults) = self.file(images);
        self.over(file).checked(faults)
    }

    /// What is said, here or in the file.
    fn given(&self) -> Self {
        self.over(self.file(Images::Checked).0)
    }

    fn file(&self, images: Images) -> (Self, Faults) {
        self.config.as_deref().map(|path| file::read(path, images)).unwrap_or_default()
    }

    /// The settings of a gateway with the text of the configuration file, which somebody else has read.
    ///
    /// # Errors
    /// [`Faults`].
    pub(crate) fn settings_with(&self, text: Option<&str>) -> Result<Settings, Faults> {
        let name = self.config.as_deref().unwrap_or(Path::new("configuration")).display().to_string();
        let read = text.map(|text| file::parse(&name, text, Images::PassedOver));
        let (file, faults) = read.unwrap_or_default();
        self.over(file).checked(faults)
    }

    fn checked(self, mut faults: Faults) -> Result<Settings, Faults> {
        let pair = match (&self.tls_certificate, &self.tls_key) {
            (Some(_), None) => Err(anyhow::anyhow!("tls-key: missing, though there is a tls-certificate")),
            (None, Some(_)) => Err(anyhow::anyhow!("tls-certificate: missing, though there is a tls-key")),
            (Some(_), Some(_)) | (None, None) => Ok(()),
        };
        let settings = self.values(&mut faults);
        faults.note(pair, ());
        if faults.0.is_empty() { Ok(settings) } else { Err(faults) }
    }

    /// Each setting by itself.
    fn values(self, faults: &mut Faults) -> Settings {
        let quota = self.quota();
        let key = self.tls_key;
        let tls = self.tls_certificate.zip(key).map(|(certificate, key)| TlsFiles {
            certificate: faults.note(absolute("tls-certificate", Some(certificate), ""), PathBuf::new()),
            key: faults.note(absolute("tls-key", Some(key), ""), PathBuf::new()),
        });
        let state_dir = faults.note(absolute("state-dir", self.state_dir, STATE_DIR), STATE_DIR.into());
        let run_dir = faults.note(absolute("run-dir", self.run_dir, RUN_DIR), RUN_DIR.into());
        let own = OwnDirectories { state: &state_dir, run: &run_dir };
        let images = images::policies(&self.images, own, faults);
        Settings {
            listen: self.listen.unwrap_or(LISTEN),
            state_dir,
            run_dir,
            images,
            agent: faults.note(agent(self.agent), AGENT.into()),
            pool: faults.note(pool(self.pool.unwrap_or(0)), 0),
            metrics_listen: self.metrics_listen,
            on_stop: self.on_stop.unwrap_or(OnStop::Keep),
            memory_overcommit: faults.note(overcommit(self.memory_overcommit), None),
            image_sweep: faults.note(image_sweep(self.image_sweep), IMAGE_SWEEP),
            layers: self.layers.unwrap_or(Layers::Shared),
            cgroup_parent: faults.note(cgroup_parent(self.cgroup_parent.as_deref()), CgroupParent::default()),
            register: self.register.unwrap_or(Register::Off),
            vsock_agents: self.vsock_agents.unwrap_or(VsockAgents::Off),
            gateway_uid: faults.note(gateway_uid(self.gateway_user.as_deref()), GATEWAY_UID),
            tls,
            log: faults.note(log(self.log), LOG.to_owned()),
            log_format: self.log_format.unwrap_or(LogFormat::Text),
            quota,
            supervisor: self.supervisor,
        }
    }

    /// What an organisation may have that has no quota of its own.
    fn quota(&self) -> Quota {
        let usual = Quota::USUAL;
        Quota {
            sandboxes: self.quota_sandboxes.or(usual.sandboxes),
            cpu_millis: self.quota_cpus.map(|cpus| cpus.saturating_mul(1000)).or(usual.cpu_millis),
            memory_mib: self.quota_memory_mib.or(usual.memory_mib),
            executions: self.quota_executions.or(usual.executions),
            streams: self.quota_streams.or(usual.streams),
            bytes_per_second: self.quota_bytes_per_second.or(usual.bytes_per_second),
            requests_per_second: self.quota_requests_per_second.or(usual.requests_per_second),
            images: self.quota_images.or(usual.images),
            image_mib: self.quota_image_mib.or(usual.image_mib),
        }
    }

    /// These flags, and what they leave out from the file.
    fn over(&self, file: Self) -> Self {
        let flags = self.clone();
        Self {
            listen: flags.listen.or(file.listen),
            state_dir: flags.state_dir.or(file.state_dir),
            run_dir: flags.run_dir.or(file.run_dir),
            config: flags.config,
            agent: flags.agent.or(file.agent),
            pool: flags.pool.or(file.pool),
            metrics_listen: flags.metrics_listen.or(file.metrics_listen),
            on_stop: flags.on_stop.or(file.on_stop),
            memory_overcommit: flags.memory_overcommit.or(file.memory_overcommit),
            cgroup_parent: flags.cgroup_parent.or(file.cgroup_parent),
            image_sweep: flags.image_sweep.or(file.image_sweep),
            layers: flags.layers.or(file.layers),
            register: flags.register.or(file.register),
            vsock_agents: flags.vsock_agents.or(file.vsock_agents),
            gateway_user: flags.gateway_user.or(file.gateway_user),
            tls_certificate: flags.tls_certificate.or(file.tls_certificate),
            tls_key: flags.tls_key.or(file.tls_key),
            log: flags.log.or(file.log),
            log_format: flags.log_format.or(file.log_format),
            quota_sandboxes: flags.quota_sandboxes.or(file.quota_sandboxes),
            quota_cpus: flags.quota_cpus.or(file.quota_cpus),
            quota_memory_mib: flags.quota_memory_mib.or(file.quota_memory_mib),
            quota_executions: flags.quota_executions.or(file.quota_executions),
            quota_streams: flags.quota_streams.or(file.quota_streams),
            quota_bytes_per_second: flags.quota_bytes_per_second.or(file.quota_bytes_per_second),
            quota_requests_per_second: flags.quota_requests_per_second.or(file.quota_requests_per_second),
            quota_images: flags.quota_images.or(file.quota_images),
            quota_image_mib: flags.quota_image_mib.or(file.quota_image_mib),
            images: file.images.into_iter().chain(flags.images).collect(),
            supervisor: flags.supervisor,
        }
    }
}

/// What is logged, as a filter understands it.
fn log(directives: Option<String>) -> anyhow::Result<String> {
    let directives = directives.unwrap_or_else(|| LOG.to_owned());
    tracing_subscriber::EnvFilter::try_new(&directives).context("log: no directives for a log")?;
    Ok(directives)
}

fn absolute(name: &str, path: Option<PathBuf>, default: &str) -> anyhow::Result<PathBuf> {
    let path = path.unwrap_or_else(|| default.into());
    std::path::absolute(&path).with_context(|| format!("{name}: {}", path.display()))
}

fn agent(path: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match path {
        Some(path) => absolute("agent", Some(path), AGENT),
        None => Ok(std::env::current_exe().context("agent: find this program")?.with_file_name(AGENT)),
    }
}

fn pool(size: usize) -> anyhow::Result<usize> {
    anyhow::ensure!(size <= MAX_POOL, "pool: at most {MAX_POOL}");
    Ok(size)
}

fn cgroup_parent(path: Option<&Path>) -> anyhow::Result<CgroupParent> {
    let parent = CgroupParent::at(path.unwrap_or(Path::new("/")));
    parent.context("cgroup-parent: must be a path of the v2 tree, without . and ..")
}

/// A factor as it is written down, in percent.
fn overcommit(factor: Option<f64>) -> anyhow::Result<Option<Overcommit>> {
    let Some(factor) = factor else { return Ok(None) };
    anyhow::ensure!((0.01..=1000.0).contains(&factor), "memory-overcommit: must be from 0.01 to 1000");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: 1 to 100,000")]
    let percent = (factor * 100.0).round() as u32;
    Ok(Some(Overcommit { percent }))
}

fn image_sweep(seconds: Option<u64>) -> anyhow::Result<Duration> {
    let every = seconds.map_or(IMAGE_SWEEP, Duration::from_secs);
    anyhow::ensure!(IMAGE_SWEEPS.contains(&every), "image-sweep: must be from 1 to 86400");
    Ok(every)
}

/// The uid of a named user, which must exist; without a name the usual user or a fixed number.
fn gateway_uid(name: Option<&str>) -> anyhow::Result<u32> {
    let find = |name: &str| {
        nix::unistd::User::from_name(name).with_context(|| format!("gateway-user: look up user {name}"))
    };
    let uid = match name {
        Some(name) => find(name)?.with_context(|| format!("gateway-user: no user {name}"))?.uid.as_raw(),
        None => find(GATEWAY_USER)?.map_or(GATEWAY_UID, |user| user.uid.as_raw()),
    };
    anyhow::ensure!(uid != 0, "gateway-user: must not be root");
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_a_percentage_within_bounds() {
        let percent = |factor| overcommit(Some(factor)).map(|bound| bound.map(|bound| bound.percent));
        assert_eq!(percent(1.5).unwrap(), Some(150));
        assert_eq!(overcommit(None).unwrap(), None);
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, 1001.0] {
            assert!(percent(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_certificate_and_its_key_come_together() {
        let flags = Flags { tls_certificate: Some("/c".into()), ..Flags::default() };
        let told = flags.settings().unwrap_err().to_string();
        assert_eq!(told, "tls-key: missing, though there is a tls-certificate");
        let both = Flags { tls_key: Some("/k".into()), ..flags };
        let files = TlsFiles { certificate: "/c".into(), key: "/k".into() };
        assert_eq!(both.settings().unwrap().tls, Some(files));
        let one_in_the_file = Flags { tls_certificate: None, ..both };
        assert!(one_in_the_file.settings().is_err());
        assert!(one_in_the_file.settings_with(Some("tls-certificate = '/c'")).unwrap().tls.is_some());
    }

    #[test]
    fn a_gateway_reaches_no_machine_unless_it_is_told_to() {
        let reach = |text| Flags::default().settings_with(text).unwrap().reach();
        assert_eq!((reach(None), reach(Some("vsock-agents = 'on'"))), (Reach::Unix, Reach::Vsock));
        let flags = Flags { vsock_agents: Some(VsockAgents::Off), ..Flags::default() };
        assert_eq!(flags.settings_with(Some("vsock-agents = 'on'")).unwrap().reach(), Reach::Unix);
    }

    #[test]
    fn a_quota_is_said_in_parts() {
        let flags = Flags { quota_cpus: Some(2), quota_streams: Some(7), ..Flags::default() };
        let quota = flags.settings().unwrap().quota;
        assert_eq!(quota, Quota { cpu_millis: Some(2000), streams: Some(7), ..Quota::USUAL });
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once() {
        let flags = Flags {
            pool: Some(257),
            memory_overcommit: Some(0.0),
            gateway_user: Some("root".into()),
            ..Flags::default()
        };
        let told = flags.settings().unwrap_err().to_string();
        assert_eq!(
            told,
            "pool: at most 256\nmemory-overcommit: must be from 0.01 to 1000\ngateway-user: must not be root"
        );
        assert_eq!(Flags { pool: Some(256), ..Flags::default() }.settings().unwrap().pool, 256);
    }
}
