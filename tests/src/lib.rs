//! Harness of the suites: starts the real programs, talks to them as a client does, and proves that nothing stays.
//!
//! A suite reads like this, and the leak check at the end is not optional (it is the server's `Drop`):
//!
//! ```no_run
//! let server = bulkhead_tests::Server::start();
//! let sandbox = server.create();
//! assert_eq!(sandbox.exec("echo hello").stdout, "hello\n");
//! ```
//!
//! The suites drive `dist/bin/bulkhead` (`scripts/build` makes it) and need root. Nothing here skips: a test
//! that cannot run fails.

pub mod client;
pub mod commands;
pub mod eventually;
pub mod groups;
pub mod host;
pub mod janitor;
pub mod openapi;
pub mod probe;
pub mod programs;
pub mod python;
pub mod raw;
pub mod registry;
pub mod residue;
pub mod runtime;
pub mod sandbox;
pub mod server;
pub mod sse;
pub mod streaming;
pub mod terminal;
pub mod verdict;
pub mod watch;
pub mod weakened;
pub mod websocket;

pub use client::{Answer, Client};
pub use eventually::{eventually, within};
pub use runtime::RuntimeLink;
pub use sandbox::{Run, Sandbox};
pub use server::{Options, Server};
pub use sse::{Event, Events};
pub use terminal::Terminal;
pub use watch::Watch;
pub use weakened::Switch;
