//! The gateway: HTTP for clients, a packet socket to the privileged runtime, a unix socket to each agent.
//!
//! It runs as an unprivileged user. It never makes a namespace, a mount or a cgroup, and believes nothing
//! that an agent says. One request: `server` (connection) → `pipeline` (the fixed order) → `routes` (HTTP to
//! domain and back) → `service` (the order of effects) → `registry`, `store`, `runtime_client`,
//! `agent_client`.

pub mod admin;
mod agent_client;
mod api;
mod app;
mod audit;
mod auth;
mod clock;
mod config;
mod dirs;
mod disk;
mod endpoint;
mod error;
mod failpoint;
mod fair;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod ids;
mod input;
mod limits;
mod metrics;
mod news;
mod pipeline;
mod quota;
mod rate;
mod reconcile;
mod registry;
mod reload;
mod reply;
mod routes;
mod runtime_client;
mod sandbox;
mod server;
mod service;
mod sse;
mod start;
mod store;
mod tls;
mod ws;

pub use config::{Changeable, Config, Operator, Registration, Tls};
pub use endpoint::Endpoint;
pub use error::Error;
pub use quota::Quota;
pub use start::run;
pub use store::StoreError;
pub use tls::{TlsError, check_certificate};
