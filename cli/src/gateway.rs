//! `bulkhead gateway`: gives up every privilege, then serves the API.

use crate::config::Flags;
use crate::operator::{self, OfGateway};
use crate::process::{self, Refusal};
use anyhow::Context;
use bulkhead_gateway::{Endpoint, Error};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let settings = flags.settings_of_gateway().context(Refusal)?;
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
    process::give_up_privileges(settings.gateway_uid)?;
    bulkhead_runtime::confine::gateway(settings.reach()).context("confine")?;
    process::die_with(settings.supervisor)?;
    let config = bulkhead_gateway::Config {
        listen,
        metrics_listen,
        state_dir: settings.state_dir.clone(),
        run_dir: settings.run_dir.clone(),
        changeable: operator::of_gateway(&settings).context(Refusal)?,
        operator: Box::new(OfGateway::new(flags.clone(), settings)),
    };
    bulkhead_gateway::run(config).map_err(refused)
}

/// No restart mends a bad certificate.
fn refused(error: Error) -> anyhow::Error {
    let hopeless = error.is_hopeless();
    let error = anyhow::Error::new(error).context("gateway");
    if hopeless { error.context(Refusal) } else { error }
}

fn bind(address: SocketAddr) -> anyhow::Result<Endpoint> {
    Endpoint::bind(address).with_context(|| format!("take the address {address}"))
}

fn inherit(socket: OwnedFd) -> anyhow::Result<Endpoint> {
    Endpoint::inherited(socket).context("take over a socket of the service manager")
}
