//! `bulkhead`: the one program. `serve` starts the two halves of a server, `runtime` (privileged) and `gateway`
//! (not); the other words speak to a running server or clean up after one.

mod admin;
mod args;
mod client;
mod config;
mod doctor;
mod fetch;
mod gateway;
mod grower;
mod image;
mod importer;
mod log;
mod operator;
mod output;
mod process;
mod purge;
mod reaper;
mod runtime;
mod serve;
mod spec;

use args::{Cli, Command, ConfigCommand};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(&cli.command);
    let done = process::unblock_signals().and_then(|()| run(cli.command));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            process::exit_code(&error)
        }
    }
}

/// A server logs as its configuration says; one that cannot be read is told about by who uses it.
fn start_log(command: &Command) {
    let settings = match command {
        Command::Serve(flags) | Command::Runtime(flags) | Command::Gateway(flags) => flags.settings().ok(),
        _ => None,
    };
    match settings {
        Some(settings) => log::start(&settings.log, settings.log_format),
        None => log::start(config::LOG, config::LogFormat::Text),
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve(flags) => serve::run(&flags),
        Command::Runtime(flags) => runtime::run(&flags),
        Command::Gateway(flags) => gateway::run(&flags),
        Command::Fetch(args) => fetch::run(&args),
        Command::Spec(args) => spec::run(&args),
        Command::Image(command) => image::run(&command),
        Command::Reaper { disks, images } => reaper::run(&disks, &images),
        Command::Grower(order) => grower::run(&order),
        Command::Importer(order) => importer::run(&order),
        Command::Purge { state, keep_state } => {
            let extent = if keep_state { purge::Extent::WhatRuns } else { purge::Extent::Everything };
            purge::run(&state.state_dir, extent)
        }
        Command::Doctor { state, json, leaks } => {
            let form = if json { doctor::Form::Json } else { doctor::Form::Text };
            if leaks { admin::leaks(&state, form) } else { doctor::run(&state.state_dir, form) }
        }
        Command::Org(command) => admin::org(&command),
        Command::Key(command) => admin::key(&command),
        Command::Config(ConfigCommand::Check(flags)) => config::check(&flags),
        Command::Config(ConfigCommand::Show(flags)) => config::show(&flags),
    }
}
