//! The operator's files as the two halves see them: the runtime reads them, as root, and the gateway gets texts.

use crate::config::{Flags, Half, OnStop, Register, Settings, TlsFiles, needs_restart};
use crate::log;
use anyhow::Context;
use bulkhead_gateway::{Registration, Tls};
use bulkhead_protocol::runtime::{MAX_OPERATOR_FILE, OperatorFile};
use bulkhead_runtime::operator as runtime;
use nix::fcntl::OFlag;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Permissions of a key that let somebody else at it: a group may read it, nobody else may do anything.
const FORBIDDEN: u32 = 0o027;

/// The operator of the privileged half.
#[derive(Debug)]
pub(crate) struct OfRuntime {
    flags: Flags,
    settings: Settings,
}

impl OfRuntime {
    pub(crate) fn new(flags: Flags, settings: Settings) -> Self {
        Self { flags, settings }
    }
}

/// What the runtime can change.
pub(crate) fn of_runtime(settings: &Settings) -> runtime::Changeable {
    runtime::Changeable {
        on_stop: match settings.on_stop {
            OnStop::Keep => runtime::OnStop::Keep,
            OnStop::Destroy => runtime::OnStop::Destroy,
        },
        pool: settings.pool,
        overcommit: settings.memory_overcommit,
    }
}

impl runtime::Operator for OfRuntime {
    fn reread(&mut self) -> Result<runtime::Changeable, String> {
        let new = self.flags.settings().map_err(|faults| faults.to_string())?;
        take_over(Half::Runtime, &self.settings, &new);
        Ok(of_runtime(&new))
    }

    fn read(&self, file: OperatorFile) -> Result<String, String> {
        let tls = || {
            let settings = self.flags.settings().map_err(|faults| faults.to_string())?;
            settings
                .tls
                .ok_or_else(|| "tls-certificate, tls-key: not set in the runtime's configuration".to_owned())
        };
        match file {
            OperatorFile::Configuration => {
                let path = self.flags.config.clone().ok_or("config: not given to the runtime")?;
                read(&path).map_err(|error| told("config", &path, error))
            }
            OperatorFile::TlsCertificate => certificate_of(&tls()?),
            OperatorFile::TlsKey => key_of(&tls()?, self.settings.gateway_uid),
        }
    }
}

fn told(key: &str, path: &Path, error: impl std::fmt::Display) -> String {
    format!("{key}: {}: {error:#}", path.display())
}

/// Whether a server could start with this certificate, where there is one.
pub(crate) fn check(settings: &Settings) -> anyhow::Result<()> {
    let Some(tls) = &settings.tls else { return Ok(()) };
    let chain = certificate_of(tls).map_err(anyhow::Error::msg)?;
    let key = key_of(tls, settings.gateway_uid).map_err(anyhow::Error::msg)?;
    Ok(bulkhead_gateway::check_certificate(&chain, &key)?)
}

fn certificate_of(tls: &TlsFiles) -> Result<String, String> {
    read(&tls.certificate).map_err(|error| told("tls-certificate", &tls.certificate, error))
}

fn key_of(tls: &TlsFiles, owner: u32) -> Result<String, String> {
    read_secret(&tls.key, owner).map_err(|error| told("tls-key", &tls.key, error))
}

/// Sets what belongs to the process itself, and names what stays as it was.
fn take_over(half: Half, old: &Settings, new: &Settings) {
    for key in needs_restart(half, old, new) {
        tracing::warn!(key, "the setting has changed and needs a restart");
    }
    if let Err(error) = log::change(&new.log) {
        tracing::error!("the log stays as it was: {error:#}");
    }
}

/// A text of the operator. Never waits: a pipe at its path is no file.
fn read(path: &Path) -> anyhow::Result<String> {
    text_of(&open(path)?)
}

/// The text of a file that only root and the user `owner` may have in their hands.
fn read_secret(path: &Path, owner: u32) -> anyhow::Result<String> {
    let file = open(path)?;
    let meta = file.metadata()?;
    let mode = meta.mode() & 0o7777;
    anyhow::ensure!(
        mode & FORBIDDEN == 0,
        "others may read or change it (mode {mode:04o}); chmod it to 0600"
    );
    let uid = meta.uid();
    anyhow::ensure!(uid == 0 || uid == owner, "it belongs to uid {uid}; it must be root's or the gateway's");
    text_of(&file)
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    anyhow::ensure!(file.metadata()?.is_file(), "it is no regular file");
    Ok(file)
}

fn text_of(file: &File) -> anyhow::Result<String> {
    let mut text = String::new();
    let most = u64::try_from(MAX_OPERATOR_FILE)?;
    file.take(most + 1).read_to_string(&mut text)?;
    anyhow::ensure!(text.len() <= MAX_OPERATOR_FILE, "it is longer than {MAX_OPERATOR_FILE} bytes");
    let strange = text.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\r' | '\t'));
    anyhow::ensure!(!strange, "it holds control characters");
    Ok(text)
}

/// The operator of the unprivileged half.
#[derive(Debug)]
pub(crate) struct OfGateway {
    flags: Flags,
    settings: Settings,
    /// Read, and not in force yet.
    next: Mutex<Option<Settings>>,
}

impl OfGateway {
    pub(crate) fn new(flags: Flags, settings: Settings) -> Self {
        Self { flags, settings, next: Mutex::default() }
    }
}

/// What the gateway can change.
pub(crate) fn of_gateway(settings: &Settings) -> anyhow::Result<bulkhead_gateway::Changeable> {
    Ok(bulkhead_gateway::Changeable {
        pool: settings.pool,
        registration: match settings.register {
            Register::On => Registration::On,
            Register::Off => Registration::Off,
        },
        quota: settings.quota,
        tls: match (credentials()?, &settings.tls) {
            (Some(directory), _) => Tls::Credentials(directory),
            (None, Some(_)) => Tls::Files,
            (None, None) => Tls::Off,
        },
    })
}

/// The directory in which a service manager lays certificate and key (systemd.exec(5), `LoadCredential=`), under the names
/// of the settings, which they stand above.
fn credentials() -> anyhow::Result<Option<PathBuf>> {
    let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from) else {
        return Ok(None);
    };
    let there = |name: &str| directory.join(name).try_exists().with_context(|| format!("credential {name}"));
    match (there("tls-certificate")?, there("tls-key")?) {
        (true, true) => Ok(Some(directory)),
        (false, false) => Ok(None),
        (true, false) => anyhow::bail!("credential tls-key: missing, though there is a tls-certificate"),
        (false, true) => anyhow::bail!("credential tls-certificate: missing, though there is a tls-key"),
    }
}

impl bulkhead_gateway::Operator for OfGateway {
    fn has_file(&self) -> bool {
        self.flags.config.is_some()
    }

    fn reread(&self, text: Option<&str>) -> Result<bulkhead_gateway::Changeable, String> {
        let new = self.flags.settings_with(text).map_err(|faults| faults.to_string())?;
        let changeable = of_gateway(&new).map_err(|error| format!("{error:#}"))?;
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(new);
        Ok(changeable)
    }

    fn taken_over(&self) {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(new) = next {
            take_over(Half::Gateway, &self.settings, &new);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn refusal(path: &Path, owner: u32) -> String {
        read_secret(path, owner).unwrap_err().to_string()
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let file = std::env::temp_dir().join(format!("bulkhead-key-{}", std::process::id()));
        std::fs::write(&file, "key").unwrap();
        let owner = std::fs::metadata(&file).unwrap().uid();
        for (mode, good) in [(0o600, true), (0o400, true), (0o640, true), (0o644, false), (0o620, false)] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_secret(&file, owner).is_ok(), good, "{mode:o}");
        }
        assert!(refusal(&file, owner).contains("mode 0620"));
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn what_is_no_text_of_a_file_is_refused() {
        let told = |path: &str| read(Path::new(path)).unwrap_err().to_string();
        assert_eq!(told("/dev/null"), "it is no regular file");
        assert_eq!(told("/"), "it is no regular file");
        assert!(told("/proc/self/environ").contains("control characters"));
    }
}
