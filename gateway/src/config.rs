//! What the command line decides for a gateway. Holds no policy: every other number is in `limits`.

use crate::endpoint::Endpoint;
use crate::quota::Quota;
use std::fmt;
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
    /// The instance's run directory; `gateway/` in it is ours.
    pub run_dir: PathBuf,
    /// What can change while it runs.
    pub changeable: Changeable,
    /// Who reads the configuration again.
    pub operator: Box<dyn Operator>,
}

/// Settings that are taken over without a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changeable {
    /// Sandboxes made ahead; more than 256 are 256.
    pub pool: usize,
    /// Whether anybody may make an organisation.
    pub registration: Registration,
    /// What an organisation may have that has no quota of its own.
    pub quota: Quota,
    /// Whether clients speak TLS.
    pub tls: Tls,
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

/// Whether clients speak TLS, and who has the key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Tls {
    /// They do not.
    #[default]
    Off,
    /// Certificate and key lie where the configuration says; the runtime reads them for us.
    Files,
    /// They lie in this directory, as `tls-certificate` and `tls-key`, and we may read them ourselves.
    Credentials(PathBuf),
}

/// Knows what the operator has written down.
pub trait Operator: fmt::Debug + Send + Sync {
    /// Whether there is a configuration file, which the runtime reads for us.
    fn has_file(&self) -> bool;

    /// Understands the configuration, with the text of its file; nothing changes yet.
    ///
    /// # Errors
    /// Everything that is wrong, a line each.
    fn reread(&self, text: Option<&str>) -> Result<Changeable, String>;

    /// What was read last is in force here; now the rest of the process, and a word about what cannot change.
    fn taken_over(&self);
}
