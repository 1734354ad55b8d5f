//! The gateway as a process of its own, between a client, a runtime that is not one and agents that lie.
//! Nothing here needs a namespace: what isolates is tested elsewhere.
#![expect(clippy::unwrap_used, reason = "the helpers of tests: a panic is their report")]

mod agent;
mod client;
mod hostile;
mod life;
mod requests;
mod runtime;
mod world;
