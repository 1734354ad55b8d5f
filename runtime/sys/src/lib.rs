//! The only crate of bulkhead that says `unsafe`: system calls with types, and the child half of a clone.
//!
//! [`call`] wraps what nix does not: every wrapper takes borrowed descriptors and C strings, allocates nothing
//! and adds close-on-exec, so that parent and child may both use it. [`op`] is what a child does, as data;
//! `child` does it, one straight line; [`spawn`] clones and reads the report. [`seccomp`] turns a table of
//! system calls into a filter program.
//!
//! Nothing here knows what a sandbox is.

pub mod btrfs;
pub mod call;
pub mod caps;
mod child;
pub mod error;
pub mod fd;
pub mod filesystem;
pub mod host;
pub mod loopdev;
pub mod lsm;
pub mod net;
pub mod op;
pub mod pidfd;
pub mod report;
pub mod rights;
pub mod seccomp;
pub mod spawn;
pub mod timens;
pub mod userns;
pub mod uts;

pub use error::{Error, Result};
