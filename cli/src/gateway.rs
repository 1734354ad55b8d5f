//! `bulkhead gateway`: gives up every privilege, then serves the API.

use crate::config::{Flags, Register, Settings};
use crate::process::{self, Refusal};
use anyhow::Context;
use bulkhead_gateway::{Endpoint, Registration};
use nix::unistd::{Gid, Uid};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let settings = flags.settings().context(Refusal)?;
    process::raise_file_limit()?;
    let mut given = process::inherited_sockets()?.into_iter();
    let mut take = |address| given.next().map_or_else(|| bind(address), inherit);
    let listen = take(settings.listen)?;
    let metrics_listen = settings.metrics_listen.map(take).transpose()?;
    // The listening sockets stay what they are; but whoever takes over the gateway reaches no network, and an agent,
    // which can ask a socket that we connected for the interfaces of *our* namespace, sees none of the host's. Started
    // without privileges, a unit of systemd does this with `PrivateNetwork=`.
    if nix::unistd::geteuid().is_root() {
        process::leave_the_network()?;
    }
    drop_privileges(&settings)?;
    process::die_with(settings.supervisor)?;
    let config = bulkhead_gateway::Config {
        listen,
        metrics_listen,
        state_dir: settings.state_dir,
        run_dir: settings.run_dir,
        pool: settings.pool,
        registration: match settings.register {
            Register::On => Registration::On,
            Register::Off => Registration::Off,
        },
    };
    bulkhead_gateway::run(config).context("gateway")
}

fn bind(address: SocketAddr) -> anyhow::Result<Endpoint> {
    Endpoint::bind(address).with_context(|| format!("take the address {address}"))
}

fn inherit(socket: OwnedFd) -> anyhow::Result<Endpoint> {
    Endpoint::inherited(socket).context("take over a socket of the service manager")
}

/// From root to the gateway's user: no groups, no capabilities, no way back. Started as that user already (as a
/// unit of systemd), only the last step is left.
fn drop_privileges(settings: &Settings) -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        caps::clear(None, caps::CapSet::Bounding).context("empty the bounding set")?;
        let (uid, gid) = (Uid::from_raw(settings.gateway_uid), Gid::from_raw(settings.gateway_uid));
        nix::unistd::setgroups(&[]).context("setgroups")?;
        nix::unistd::setresgid(gid, gid, gid).context("setresgid")?;
        nix::unistd::setresuid(uid, uid, uid).context("setresuid")?;
    }
    for set in
        [caps::CapSet::Ambient, caps::CapSet::Inheritable, caps::CapSet::Effective, caps::CapSet::Permitted]
    {
        caps::clear(None, set).with_context(|| format!("empty the {set:?} set"))?;
    }
    nix::sys::prctl::set_no_new_privs().context("set no_new_privs")?;
    anyhow::ensure!(nix::unistd::setuid(Uid::from_raw(0)).is_err(), "root could be taken back");
    bulkhead_runtime::confine::gateway().context("confine")
}
