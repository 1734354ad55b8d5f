//! What the command line decides for a gateway. Holds no policy: every other number is in `limits`.

use crate::endpoint::Endpoint;
use std::path::PathBuf;

/// Settings of one gateway process.
#[derive(Debug)]
pub struct Config {
    /// Where clients connect.
    pub listen: Endpoint,
    /// Where Prometheus connects; `None` is nowhere.
    pub metrics_listen: Option<Endpoint>,
    /// The instance's state directory; `gateway/` in it is ours, and so is the file `api-key`.
    pub state_dir: PathBuf,
    /// Sandboxes made ahead; more than 256 are 256.
    pub pool: usize,
    /// The instance's run directory; `gateway/` in it is ours.
    pub run_dir: PathBuf,
    /// Whether anybody may make an organisation.
    pub registration: Registration,
}

/// Whether `POST /register` exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Registration {
    /// It does, for everybody who reaches the server.
    On,
    /// Organisations are made by the operator.
    #[default]
    Off,
}
