//! The command line.

mod image;

pub(crate) use image::{FetchArgs, ImageCommand, Source};

use crate::config::{self, Flags};
use bulkhead_gateway::admin::{Ceiling, NO_CEILING};
use bulkhead_protocol::agent::{AGENT_PROTOCOL, OLDEST_AGENT_PROTOCOL};
use bulkhead_protocol::runtime::RUNTIME_PROTOCOL;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;
use std::sync::LazyLock;

/// Runs untrusted code on a plain Linux host, for many tenants at once.
#[derive(Debug, Parser)]
#[command(version, long_version = VERSIONS.as_str(), arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// This release, and which protocols it speaks inside: what an upgrade meets.
static VERSIONS: LazyLock<String> = LazyLock::new(|| {
    let release = env!("CARGO_PKG_VERSION");
    format!(
        "{release}\nagent protocol {AGENT_PROTOCOL}, oldest {OLDEST_AGENT_PROTOCOL}\nruntime protocol {RUNTIME_PROTOCOL}"
    )
});

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a server: both halves, restarted when one dies.
    Serve(Flags),
    /// The privileged half alone.
    Runtime(Flags),
    /// The unprivileged half alone.
    Gateway(Flags),
    /// Delete the disks and images in the trash.
    #[command(hide = true)]
    Reaper {
        /// The directory of disks.
        #[arg(long)]
        disks: PathBuf,
        /// The store of images.
        #[arg(long)]
        images: PathBuf,
    },
    /// Keep room in the volume of disks.
    #[command(hide = true)]
    Grower(crate::grower::Order),
    /// Make an image of standard input.
    #[command(hide = true)]
    Importer(crate::importer::Order),
    /// Fetch an image into a directory.
    #[command(hide = true)]
    Fetch(FetchArgs),
    /// Remove everything that an instance owns; no server may be running.
    Purge {
        #[command(flatten)]
        state: StateDir,
        /// Leave the state directory as it is: what runs ends, disks, images and keys stay for the next start.
        #[arg(long)]
        keep_state: bool,
    },
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
    /// Print the OCI runtime spec from which the running server launches, as JSON.
    Spec(SpecArgs),
    /// Images, of which sandboxes are made.
    #[command(subcommand)]
    Image(ImageCommand),
    /// Organisations.
    #[command(subcommand)]
    Org(OrgCommand),
    /// API keys.
    #[command(subcommand)]
    Key(KeyCommand),
    /// The configuration of a server.
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Which instance.
#[derive(Debug, Args)]
pub(crate) struct StateDir {
    /// Directory of state that outlives a reboot.
    #[arg(long, default_value = config::STATE_DIR)]
    pub(crate) state_dir: PathBuf,
}

/// Of what a spec is printed.
#[derive(Debug, Args)]
pub(crate) struct SpecArgs {
    /// Of a sandbox that runs.
    #[arg(long, value_name = "ID", conflicts_with = "image")]
    pub(crate) sandbox: Option<String>,
    /// Of a sandbox that would be made of this image, by who asks for no limits; id, name and ids of users stand for any.
    #[arg(long, value_name = "NAME", default_value = "code")]
    pub(crate) image: String,
    #[command(flatten)]
    pub(crate) state: StateDir,
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

/// What an organisation may have at once; what is left out stays as it is, and `none` is no bound but the host's.
#[derive(Debug, Args)]
pub(crate) struct Ceilings {
    /// Sandboxes, in whatever state.
    #[arg(long, value_parser = ceiling)]
    pub(crate) sandboxes: Option<Ceiling>,
    /// Processors of the sandboxes that are awake, thousandths as well.
    #[arg(long, value_parser = cpu_ceiling)]
    pub(crate) cpus: Option<Ceiling>,
    /// MiB of memory of the sandboxes that are awake.
    #[arg(long, value_parser = ceiling)]
    pub(crate) memory_mib: Option<Ceiling>,
    /// Names of its own images.
    #[arg(long, value_parser = ceiling)]
    pub(crate) images: Option<Ceiling>,
    /// MiB of the files of those.
    #[arg(long, value_parser = ceiling)]
    pub(crate) image_mib: Option<Ceiling>,
    /// Executions that connections hold; each sandbox may have 64 more that go on without one.
    #[arg(long, value_parser = ceiling)]
    pub(crate) executions: Option<Ceiling>,
    /// Streams of events, WebSockets and waits.
    #[arg(long, value_parser = ceiling)]
    pub(crate) streams: Option<Ceiling>,
    /// Bytes sent per second.
    #[arg(long, value_parser = ceiling)]
    pub(crate) bytes_per_second: Option<Ceiling>,
    /// Requests per second.
    #[arg(long, value_parser = ceiling)]
    pub(crate) requests_per_second: Option<Ceiling>,
}

/// A number, or that there is no bound.
fn ceiling(text: &str) -> Result<Ceiling, String> {
    bounded(text, |text| text.parse().map_err(|_| format!("must be a whole number, or {NO_CEILING}")))
}

/// A number of processors, or that there is no bound.
fn cpu_ceiling(text: &str) -> Result<Ceiling, String> {
    bounded(text, cpu_millis)
}

fn bounded(text: &str, most: impl Fn(&str) -> Result<u64, String>) -> Result<Ceiling, String> {
    if text == NO_CEILING { Ok(Ceiling::Unbounded) } else { most(text).map(Ceiling::Most) }
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
pub(crate) enum ConfigCommand {
    /// Say everything that is wrong with a configuration, and end with 78 where anything is.
    Check(Flags),
    /// Print every setting with what it means and what it is, as a configuration file.
    Show(Flags),
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
        /// What it may do, one or more of *, sandboxes:read, sandboxes:write, exec, images:read, images:write and keys [default: *]
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_version_names_the_protocols() {
        let told = Cli::command().render_long_version();
        let agent = format!("agent protocol {AGENT_PROTOCOL}, oldest {OLDEST_AGENT_PROTOCOL}\n");
        assert!(told.starts_with("bulkhead ") && told.contains(&agent), "{told}");
        assert!(told.ends_with(&format!("runtime protocol {RUNTIME_PROTOCOL}\n")), "{told}");
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
}
