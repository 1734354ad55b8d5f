//! What the loop asks of the operator's files: settings that may change while it runs, and texts that only root may
//! read. Who composes the process knows where they lie.

use crate::admission::Overcommit;
use bulkhead_protocol::runtime::OperatorFile;
use std::fmt;

/// What becomes of sandboxes when the runtime is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStop {
    /// They live on; the next start adopts them.
    Keep,
    /// They are destroyed.
    Destroy,
}

/// Settings that are taken over without a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changeable {
    /// See [`OnStop`].
    pub on_stop: OnStop,
    /// Sandboxes that somebody wants ready: so many network namespaces are made ahead, up to a bound of our own.
    pub pool: usize,
    /// Bound of the memory that is promised, if there is one.
    pub overcommit: Option<Overcommit>,
}

/// Reads the operator's files.
pub trait Operator: fmt::Debug {
    /// Reads the configuration anew.
    ///
    /// # Errors
    /// Everything that is wrong with it; then what was in force stays so.
    fn reread(&mut self) -> Result<Changeable, String>;

    /// The text of a file, at most `MAX_OPERATOR_FILE` bytes, without control characters that JSON makes longer.
    ///
    /// # Errors
    /// What is wrong with it, with the name of its setting.
    fn read(&self, file: OperatorFile) -> Result<String, String>;
}
