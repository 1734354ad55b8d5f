//! What the gateway reads of agents and clients, without a connection: entries of the targets in `fuzz/`.

pub use crate::agent_client::fuzzing::{answers, collected, frames};
pub use crate::routes::fuzzing::{create, exec};
