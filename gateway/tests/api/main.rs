//! The gateway as a process of its own, between a client, a runtime that is not one and agents that lie.
//! Nothing here needs a namespace: what isolates is tested elsewhere.
#![expect(clippy::unwrap_used, reason = "the helpers of tests: a panic is their report")]

mod agent;
mod client;
mod commands;
mod commands_agent;
mod create_keys;
mod crowd;
mod events;
mod files;
mod files_agent;
mod files_upload;
mod files_watch;
mod hostile;
mod idempotency;
mod images;
mod isolation;
mod keys;
mod lasting;
mod life;
mod lifecycle;
mod metrics;
mod older;
mod operator;
mod pool;
mod pty;
mod pty_agent;
mod pty_live;
mod pty_session;
mod pty_shell;
mod pty_socket;
mod quota;
mod recorded;
mod reload;
mod requests;
mod revoked;
mod runtime;
mod runtime_images;
mod stats;
mod streams;
mod tls;
mod versions;
mod witness;
mod world;
