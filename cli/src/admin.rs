//! `bulkhead org` and `bulkhead key`: ask the running gateway, as root, through its admin socket.

use crate::args::{KeyCommand, OrgCommand, StateDir};
use crate::process::NoServer;
use crate::purge::run_dir_of;
use anyhow::anyhow;
use bulkhead_gateway::admin::client::{self, ClientError};
use std::path::PathBuf;

/// What a key made at the host's command line is for.
const KEY_NAME: &str = "cli";

pub(crate) fn org(command: &OrgCommand) -> anyhow::Result<()> {
    let OrgCommand::Create { name, state } = command;
    let made = client::create_org(&run_dir(state)?, name).map_err(explained)?;
    println!("{}", made.id);
    Ok(())
}

pub(crate) fn key(command: &KeyCommand) -> anyhow::Result<()> {
    match command {
        KeyCommand::Create { org, state } => {
            let made = client::create_key(&run_dir(state)?, org, KEY_NAME).map_err(explained)?;
            println!("{}", made.key);
        }
        KeyCommand::List { state } => {
            for key in client::list_keys(&run_dir(state)?).map_err(explained)? {
                let state = if key.revoked_at.is_none() { "active" } else { "revoked" };
                println!("{}\t{}\t{}\t{state}\t{}", key.id, key.org, key.name, key.created_at);
            }
        }
        KeyCommand::Revoke { id, state } => client::revoke_key(&run_dir(state)?, id).map_err(explained)?,
    }
    Ok(())
}

fn run_dir(state: &StateDir) -> anyhow::Result<PathBuf> {
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
