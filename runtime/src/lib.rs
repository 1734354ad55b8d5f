//! The privileged half: turns a checked request into a live sandbox, watches it, destroys it, and adopts what it
//! finds after a restart.
//!
//! One thread and one poll loop ([`server`]). It never parses HTTP, never resolves a path inside a live sandbox,
//! never joins a live sandbox's namespaces (but for its two names, see `identity`), and never executes a file found
//! there. It knows nothing of images: who composes the process hands it [`Roots`].

mod admission;
mod adopt;
mod census;
mod cgroup;
pub mod confine;
mod conn;
mod dev;
mod digests;
mod error;
mod failpoint;
pub mod host;
mod identity;
mod ids;
mod inspect;
mod instance;
mod launch;
mod leaks;
mod masks;
mod networks;
pub mod operator;
mod policy;
mod processors;
pub mod purge;
mod record;
mod rlimits;
mod roots;
mod sandbox;
pub mod server;
mod spec;
mod sysctls;
mod view;
#[cfg(feature = "weaken")]
pub mod weaken;

pub use admission::Overcommit;
pub use cgroup::CgroupParent;
pub use error::{Error, Result};
pub use ids::NEUTRAL;
pub use instance::Instance;
#[cfg(feature = "fuzzing")]
pub use launch::fuzzing::Planner;
pub use policy::ImagePolicy;
pub use roots::{ImportFailure, ImportTerms, Part, Root, RootError, Roots, Wish};
