//! The agent: PID 1 of a sandbox, which runs the sandbox's commands for the gateway.
//!
//! It has one thread, and must keep it: commands are cloned into an inner pid namespace, which the kernel allows
//! for a process of one thread only, and the child half of a clone is safe for the same reason. So nothing here
//! may use a thread pool (`tokio::fs`, `tokio::process`, `spawn_blocking`), and nothing may block for long.
//!
//! It is inside the wall. It must never be trusted by anyone outside, and no command may see or reach it: it is
//! in another pid namespace, holds another id, is not dumpable, and hands no descriptor down but standard streams.

mod body;
mod boot;
mod capability;
mod execution;
#[cfg(feature = "fuzzing")]
pub use execution::fuzzing;

mod files;
mod gate;
mod hostname;
mod inner;
mod routes;
mod server;
mod slots;
mod vitals;
mod watch;
#[cfg(feature = "weaken")]
mod weaken;

use std::process::ExitCode;

/// Serves the gateway until the inner init ends. Takes its descriptors from the launch, so once per process.
#[must_use]
pub fn serve() -> ExitCode {
    let boot = match boot::take() {
        Ok(boot) => boot,
        Err(error) => return fail(&error),
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let tasks = tokio::task::LocalSet::new();
    match tasks.block_on(&runtime, server::run(boot)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Reaps orphans until it is killed.
#[must_use]
pub fn init() -> ExitCode {
    inner::reap_for_ever()
}

/// Does one file operation for whoever is connected to standard input.
#[must_use]
pub fn files() -> ExitCode {
    files::work()
}

/// In a sandbox standard error is `/dev/null`, so this is for those who start an agent by hand and for tests.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    eprintln!("bulkhead-agent: {text}");
    ExitCode::FAILURE
}
