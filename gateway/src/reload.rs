//! A hangup reads the configuration again: everything that is wrong is told and changes nothing, everything that is good
//! is taken over at once. Connections that are open stay what they are.

use crate::app::App;
use crate::config::{Changeable, Tls};
use crate::runtime_client::{CallError, RuntimeClient};
use crate::start::manager;
use crate::tls::{Certificate, TlsError};
use bulkhead_protocol::runtime::OperatorFile;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::Signal;

/// Reads again whenever somebody asks, for ever.
pub(crate) async fn on_hangup(app: Arc<App>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        manager::reloading();
        match read(&app).await {
            Ok((settings, certificate)) => take_over(&app, settings, certificate),
            Err(wrong) => {
                for line in wrong.lines() {
                    tracing::error!("the configuration stays as it was: {line}");
                }
            }
        }
        manager::ready();
    }
}

/// Everything that is needed, or everything that is wrong.
async fn read(app: &App) -> Result<(Changeable, Option<Certificate>), String> {
    let text = match app.operator.has_file() {
        true => Some(app.runtime.read_file(OperatorFile::Configuration).await.map_err(|error| told(&error))?),
        false => None,
    };
    let settings = app.operator.reread(text.as_deref())?;
    let certificate =
        certificate(&app.runtime, &settings.tls).await.map_err(|error| crate::error::chain(&error))?;
    Ok((settings, certificate))
}

fn take_over(app: &App, settings: Changeable, certificate: Option<Certificate>) {
    app.pool.resize(settings.pool);
    app.accounts.set_usual(settings.quota);
    app.certificates.set(certificate);
    app.settings.send_replace(settings);
    app.operator.taken_over();
    tracing::info!("the configuration was read again");
}

/// The certificate that the settings ask for.
pub(crate) async fn certificate(runtime: &RuntimeClient, tls: &Tls) -> Result<Option<Certificate>, TlsError> {
    let (chain, key) = match tls {
        Tls::Off => return Ok(None),
        Tls::Files => {
            let (chain, key) = tokio::join!(
                runtime.read_file(OperatorFile::TlsCertificate),
                runtime.read_file(OperatorFile::TlsKey)
            );
            match (chain, key) {
                (Ok(chain), Ok(key)) => (chain, key),
                (chain, key) => {
                    let wrong = [chain.err(), key.err()].into_iter().flatten();
                    return Err(TlsError::Read(
                        wrong.map(|error| told(&error)).collect::<Vec<_>>().join("\n"),
                    ));
                }
            }
        }
        Tls::Credentials(directory) => {
            (credential(directory, "tls-certificate")?, credential(directory, "tls-key")?)
        }
    };
    Certificate::new(&chain, &key).map(Some)
}

fn credential(directory: &Path, name: &'static str) -> Result<String, TlsError> {
    std::fs::read_to_string(directory.join(name)).map_err(|source| TlsError::Credential { name, source })
}

/// What the runtime says of a file is for the operator; anything else is a matter of ours.
fn told(error: &CallError) -> String {
    match error {
        CallError::Refused { detail, .. } => detail.clone(),
        other => other.to_string(),
    }
}
