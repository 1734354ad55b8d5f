//! `bulkhead org`, `bulkhead key` and `bulkhead doctor --leaks`: ask the running gateway, as root, through its admin socket.

use crate::args::{Ceilings, KeyCommand, OrgCommand, StateDir};
use crate::doctor::Form;
use crate::output;
use crate::process::NoServer;
use crate::purge::run_dir_of;
use anyhow::anyhow;
use bulkhead_gateway::admin::client::{self, ClientError};
use bulkhead_gateway::admin::{KeyInfo, KeyOrder, QuotaChange};
use std::path::PathBuf;

/// What a key made at the host's command line is for.
const KEY_NAME: &str = "cli";

pub(crate) fn org(command: &OrgCommand) -> anyhow::Result<()> {
    match command {
        OrgCommand::Create { name, state } => {
            output::line(client::create_org(&run_dir(state)?, name).map_err(explained)?.id)?;
        }
        OrgCommand::List { state } => {
            for org in client::list_orgs(&run_dir(state)?).map_err(explained)? {
                output::line(format_args!("{}\t{}\t{}", org.id, org.name, org.created_at))?;
            }
        }
        OrgCommand::Quota { name, ceilings, state } => {
            let quota = client::quota(&run_dir(state)?, name, change(ceilings)).map_err(explained)?;
            output::line(serde_json::to_string(&quota)?)?;
        }
    }
    Ok(())
}

fn change(ceilings: &Ceilings) -> QuotaChange {
    QuotaChange {
        sandboxes: ceilings.sandboxes,
        cpu_millis: ceilings.cpus,
        memory_mib: ceilings.memory_mib,
        images: ceilings.images,
        image_mib: ceilings.image_mib,
        executions: ceilings.executions,
        streams: ceilings.streams,
        bytes_per_second: ceilings.bytes_per_second,
        requests_per_second: ceilings.requests_per_second,
    }
}

pub(crate) fn key(command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create { org, admin, scopes, expires_in, state } => {
            let order = KeyOrder {
                org: org.clone(),
                name: KEY_NAME.to_owned(),
                scopes: scopes.clone(),
                admin: *admin,
                expires_in_seconds: *expires_in,
            };
            output::line(client::create_key(&run_dir(state)?, &order).map_err(explained)?.key)?;
        }
        KeyCommand::List { state } => {
            for key in client::list_keys(&run_dir(state)?).map_err(explained)? {
                let state = match (&key.revoked_at, key.is_active) {
                    (Some(_), _) => "revoked",
                    (None, true) => "active",
                    (None, false) => "inactive",
                };
                let (scopes, end) = (key.scopes.join(","), key.expires_at.as_deref().unwrap_or("never"));
                let KeyInfo { id, org, name, created_at, .. } = &key;
                output::line(format_args!("{id}\t{org}\t{name}\t{state}\t{created_at}\t{scopes}\t{end}"))?;
            }
        }
        KeyCommand::Revoke { id, state } => client::revoke_key(&run_dir(state)?, id).map_err(explained)?,
    }
    Ok(())
}

/// Prints what nobody claims, and fails where there is anything.
pub(crate) fn leaks(state: &StateDir, form: Form) -> anyhow::Result<()> {
    let leaks = client::leaks(&run_dir(state)?).map_err(explained)?;
    match form {
        Form::Json => output::line(serde_json::to_string_pretty(&leaks)?)?,
        Form::Text => {
            leaks.iter().try_for_each(|leak| output::line(format_args!("{}\t{}", leak.kind, leak.name)))?;
        }
    }
    if leaks.is_empty() { Ok(()) } else { Err(anyhow!("{} things leak", leaks.len())) }
}

/// Where the server of a state directory runs.
pub(crate) fn run_dir(state: &StateDir) -> anyhow::Result<PathBuf> {
    run_dir_of(&state.state_dir)?
        .ok_or_else(|| no_server(anyhow!("{} holds no instance", state.state_dir.display())))
}

fn explained(error: ClientError) -> anyhow::Error {
    match error {
        ClientError::NoServer { .. } => no_server(error.into()),
        other => anyhow::Error::new(other).context("the server refused"),
    }
}

fn no_server(error: anyhow::Error) -> anyhow::Error {
    error.context(NoServer)
}
