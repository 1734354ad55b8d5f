//! The command line, and the configuration file whose keys are the flags' names.

use anyhow::{Context, bail};
use bulkhead_runtime::Overcommit;
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Runs untrusted code on a plain Linux host, for many tenants at once.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a server: both halves, restarted when one dies.
    Serve(Flags),
    /// The privileged half alone.
    Runtime(Flags),
    /// The unprivileged half alone.
    Gateway(Flags),
    /// Delete the disks in the trash.
    #[command(hide = true)]
    Reaper {
        /// The directory of disks.
        #[arg(long)]
        disks: PathBuf,
    },
    /// Remove everything that an instance owns; no server may be running.
    Purge(StateDir),
    /// Say what this host has and lacks for sandboxes; ends with 78 when no server can start on it.
    Doctor {
        #[command(flatten)]
        state: StateDir,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        /// Ask the running server for everything of it that no sandbox claims; ends with 1 where there is anything.
        #[arg(long)]
        leaks: bool,
    },
    /// Organisations.
    #[command(subcommand)]
    Org(OrgCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
}

/// Which instance.
#[derive(Debug, Args)]
pub(crate) struct StateDir {
    /// Directory of state that outlives a reboot.
    #[arg(long, default_value = args_default::STATE_DIR)]
    pub(crate) state_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrgCommand {
    /// Make an organisation.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        state: StateDir,
    },
    /// List all organisations.
    List {
        #[command(flatten)]
        state: StateDir,
    },
    /// Change what an organisation may have at once, and print all of it as JSON; what is not there has no bound but the
    /// host's.
    Quota {
        /// Its name.
        name: String,
        #[command(flatten)]
        ceilings: Ceilings,
        #[command(flatten)]
        state: StateDir,
    },
}

/// What an organisation may have at once; what is left out stays as it is.
#[derive(Debug, Args)]
pub(crate) struct Ceilings {
    /// Sandboxes, in whatever state.
    #[arg(long)]
    pub(crate) sandboxes: Option<u64>,
    /// Processors of the sandboxes that are awake, thousandths as well.
    #[arg(long, value_parser = cpu_millis)]
    pub(crate) cpus: Option<u64>,
    /// MiB of memory of the sandboxes that are awake.
    #[arg(long)]
    pub(crate) memory_mib: Option<u64>,
    /// Executions that connections hold.
    #[arg(long)]
    pub(crate) executions: Option<u64>,
    /// Streams of events, WebSockets and waits.
    #[arg(long)]
    pub(crate) streams: Option<u64>,
    /// Bytes sent per second.
    #[arg(long)]
    pub(crate) bytes_per_second: Option<u64>,
    /// Requests per second.
    #[arg(long)]
    pub(crate) requests_per_second: Option<u64>,
}

/// Processors as a decimal number, in thousandths.
fn cpu_millis(text: &str) -> Result<u64, String> {
    let rule = || "must be a number of processors with at most three decimals".to_owned();
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(rule());
    }
    let millis = format!("{part:0<3}").parse::<u64>().map_err(|_| rule())?;
    let whole = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(1000));
    whole.and_then(|whole| whole.checked_add(millis)).ok_or_else(rule)
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key; prints it, alone, this once.
    Create {
        /// Name of its organisation.
        #[arg(long)]
        org: String,
        /// It may also look at the host.
        #[arg(long)]
        admin: bool,
        /// What it may do, one or more of *, sandboxes:read, sandboxes:write, exec and keys [default: *]
        #[arg(long = "scope")]
        scopes: Vec<String>,
        /// Seconds until it ends by itself [default: never]
        #[arg(long)]
        expires_in: Option<u64>,
        #[command(flatten)]
        state: StateDir,
    },
    /// List all keys.
    List {
        #[command(flatten)]
        state: StateDir,
    },
    /// End a key's validity.
    Revoke {
        /// The key's id.
        id: String,
        #[command(flatten)]
        state: StateDir,
    },
}

/// What becomes of sandboxes when the server stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OnStop {
    /// They live on and the next start adopts them.
    Keep,
    /// They are destroyed.
    Destroy,
}

/// Whether anybody may make an organisation over the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Register {
    /// `POST /api/register` makes one for everybody.
    On,
    /// There is no such route.
    Off,
}

/// Flags of a server; each may stand in the configuration file instead.
#[derive(Debug, Default, Clone, Args, Deserialize)]
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
    /// What becomes of sandboxes when the server stops [default: keep]
    #[arg(long, value_enum)]
    pub(crate) on_stop: Option<OnStop>,
    /// Most memory that all sandboxes together may be promised, as a factor of the host's [default: no bound]
    #[arg(long)]
    pub(crate) memory_overcommit: Option<f64>,
    /// Whether anybody may make an organisation over the API [default: off]
    #[arg(long, value_enum)]
    pub(crate) register: Option<Register>,
    /// User that the gateway runs as [default: bulkhead where it exists, else uid 64901]
    #[arg(long)]
    pub(crate) gateway_user: Option<String>,
    /// Pid of the supervisor: the half ends when that is gone.
    #[arg(long, hide = true)]
    #[serde(skip)]
    pub(crate) supervisor: Option<i32>,
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
    pub(crate) register: Register,
    pub(crate) gateway_uid: u32,
    pub(crate) supervisor: Option<i32>,
}

/// Defaults, in one place.
mod args_default {
    pub(super) const LISTEN: std::net::SocketAddr =
        std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 33944);
    pub(super) const STATE_DIR: &str = "/var/lib/bulkhead";
    pub(super) const RUN_DIR: &str = "/run/bulkhead";
    pub(super) const AGENT: &str = "bulkhead-agent";
    pub(super) const GATEWAY_USER: &str = "bulkhead";
    /// As many as a burst of creates may need; each costs what a sandbox costs.
    pub(super) const MAX_POOL: usize = 256;
    pub(super) const GATEWAY_UID: u32 = 64_901;
}

/// Where the instance of a state directory runs when nothing else is said.
pub(crate) const RUN_DIR: &str = args_default::RUN_DIR;

/// Who a gateway runs as when nothing else is said.
pub(crate) fn usual_gateway_uid() -> anyhow::Result<u32> {
    gateway_uid(None)
}

impl Flags {
    /// Reads the configuration file, if there is one, and fills in defaults.
    pub(crate) fn settings(&self) -> anyhow::Result<Settings> {
        let file = match &self.config {
            Some(path) => read(path)?,
            None => Flags::default(),
        };
        let pool = self.pool.or(file.pool).unwrap_or(0);
        if pool > args_default::MAX_POOL {
            bail!("pool: at most {}", args_default::MAX_POOL);
        }
        let or_default = |flag: &Option<PathBuf>, file: Option<PathBuf>, default: &str| {
            absolute(flag.clone().or(file).unwrap_or_else(|| default.into()))
        };
        let agent = match self.agent.clone().or(file.agent) {
            Some(path) => absolute(path)?,
            None => std::env::current_exe().context("find this program")?.with_file_name(args_default::AGENT),
        };
        Ok(Settings {
            listen: self.listen.or(file.listen).unwrap_or(args_default::LISTEN),
            state_dir: or_default(&self.state_dir, file.state_dir, args_default::STATE_DIR)?,
            run_dir: or_default(&self.run_dir, file.run_dir, args_default::RUN_DIR)?,
            agent,
            pool,
            metrics_listen: self.metrics_listen.or(file.metrics_listen),
            on_stop: self.on_stop.or(file.on_stop).unwrap_or(OnStop::Keep),
            memory_overcommit: overcommit(self.memory_overcommit.or(file.memory_overcommit))?,
            register: self.register.or(file.register).unwrap_or(Register::Off),
            gateway_uid: gateway_uid(self.gateway_user.as_deref().or(file.gateway_user.as_deref()))?,
            supervisor: self.supervisor,
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Flags> {
    let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).with_context(|| format!("{}", path.display()))
}

fn absolute(path: PathBuf) -> anyhow::Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("{}", path.display()))
}

/// A factor as it is written down, in percent.
fn overcommit(factor: Option<f64>) -> anyhow::Result<Option<Overcommit>> {
    let Some(factor) = factor else { return Ok(None) };
    if !(0.01..=1000.0).contains(&factor) {
        bail!("memory-overcommit: must be from 0.01 to 1000");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked: 1 to 100,000")]
    let percent = (factor * 100.0).round() as u32;
    Ok(Some(Overcommit { percent }))
}

/// The uid of a named user, which must exist; without a name the usual user or a fixed number.
fn gateway_uid(name: Option<&str>) -> anyhow::Result<u32> {
    let find =
        |name: &str| nix::unistd::User::from_name(name).with_context(|| format!("look up user {name}"));
    let uid = match name {
        Some(name) => find(name)?.with_context(|| format!("gateway-user: no user {name}"))?.uid.as_raw(),
        None => find(args_default::GATEWAY_USER)?.map_or(args_default::GATEWAY_UID, |user| user.uid.as_raw()),
    };
    if uid == 0 {
        bail!("gateway-user: must not be root");
    }
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_file_takes_the_flags_names_and_no_others() {
        let flags: Flags = toml::from_str("listen = '127.0.0.1:1'\non-stop = 'destroy'").unwrap();
        assert_eq!(flags.on_stop, Some(OnStop::Destroy));
        assert!(toml::from_str::<Flags>("lisen = '127.0.0.1:1'").is_err());
    }

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
    fn processors_are_counted_in_thousandths() {
        for (text, millis) in [("4", 4000), ("0.5", 500), ("1.25", 1250), ("0.001", 1), ("2.", 2000)] {
            assert_eq!(cpu_millis(text), Ok(millis), "{text}");
        }
        for text in ["", "x", "-1", "1.2345", "1.x", ".5", "99999999999999999999"] {
            assert!(cpu_millis(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pool_has_a_bound() {
        let pool = |pool| Flags { pool: Some(pool), ..Flags::default() }.settings();
        assert_eq!(pool(256).unwrap().pool, 256);
        assert_eq!(pool(257).unwrap_err().to_string(), "pool: at most 256");
    }
}
