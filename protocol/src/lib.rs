//! Every type that crosses a process boundary of bulkhead, and nothing else.
//!
//! Two boundaries exist: the gateway asks the privileged runtime for sandboxes ([`runtime`]), and it asks the
//! agent inside a sandbox to run things ([`agent`], whose bodies are cut into [`frame`]s). This crate does no
//! I/O and holds no policy: it says what may be said, with the bounds that both sides check.

pub mod address;
pub mod agent;
pub mod files;
pub mod frame;
pub mod id;
pub mod image;
pub mod isolation;
pub mod limits;
pub mod meminfo;
pub mod runtime;
pub mod stats;

pub use id::SandboxId;
pub use limits::Limits;
