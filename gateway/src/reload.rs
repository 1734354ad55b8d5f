//! A hangup reads the configuration again: everything that is wrong is told and changes nothing, everything that is good
//! is taken over at once. Connections that are open stay what they are.

use crate::app::App;
use crate::config::{Changeable, Tls};
use crate::error::Error;
use crate::limits;
use crate::runtime_client::{CallError, RuntimeClient};
use crate::start::manager;
use crate::tls::{Certificate, TlsError};
use bulkhead_protocol::runtime::OperatorFile;
use std::path::Path;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::time::Instant;

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

/// The certificate that the settings ask for, at a start: what a moment may mend is read again for a while.
pub(crate) async fn first_certificate(
    runtime: &RuntimeClient,
    tls: &Tls,
) -> Result<Option<Certificate>, Error> {
    patiently(|| certificate(runtime, tls)).await
}

async fn patiently<T, F>(mut read: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let end = Instant::now() + limits::START_PATIENCE;
    loop {
        match read().await {
            Err(Error::Tls(error)) if error.may_pass() && Instant::now() < end => {
                tracing::debug!("{error}");
                tokio::time::sleep(limits::START_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// The certificate that the settings ask for.
async fn certificate(runtime: &RuntimeClient, tls: &Tls) -> Result<Option<Certificate>, Error> {
    let (chain, key) = match tls {
        Tls::Off => return Ok(None),
        Tls::Files => {
            let (chain, key) = tokio::join!(
                runtime.read_file(OperatorFile::TlsCertificate),
                runtime.read_file(OperatorFile::TlsKey)
            );
            match (chain, key) {
                (Ok(chain), Ok(key)) => (chain, key),
                (chain, key) => return Err(unread([chain.err(), key.err()].into_iter().flatten().collect())),
            }
        }
        Tls::Credentials(directory) => {
            (credential(directory, "tls-certificate")?, credential(directory, "tls-key")?)
        }
    };
    Ok(Some(Certificate::new(&chain, &key)?))
}

/// A refusal is about the files; whatever else keeps a text from coming says nothing of them.
fn unread(wrong: Vec<CallError>) -> Error {
    let said: Vec<_> = wrong.iter().map(told).collect();
    match wrong.into_iter().find(|error| !matches!(error, CallError::Refused { .. })) {
        Some(error) => Error::Unread(error.into()),
        None => TlsError::Read(said.join("\n")).into(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::runtime::RefusalKind;
    use std::future::ready;

    fn refused(detail: &str) -> CallError {
        CallError::Refused { kind: RefusalKind::Failed, detail: detail.to_owned() }
    }

    #[test]
    fn only_what_the_operator_must_mend_is_hopeless() {
        let files = unread(vec![refused("tls-certificate: gone"), refused("tls-key: gone")]);
        assert_eq!(files.to_string(), "tls-certificate: gone\ntls-key: gone");
        assert!(files.is_hopeless());
        for passing in [CallError::Away, CallError::Lost, CallError::Late(limits::START_PAUSE)] {
            assert!(!unread(vec![refused("tls-key: gone"), passing]).is_hopeless());
        }
        assert!(Error::from(TlsError::NoKey).is_hopeless());
        assert!(Error::from(TlsError::Expired("yesterday".to_owned())).is_hopeless());
        assert!(!Error::from(TlsError::Mismatch).is_hopeless());
        assert!(!Error::from(TlsError::TooEarly("tomorrow".to_owned())).is_hopeless());
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_what_a_moment_mends_and_for_nothing_else() {
        let begin = Instant::now();
        let mut answers = vec![Ok(7), Err(TlsError::Mismatch.into()), Err(TlsError::Mismatch.into())];
        assert_eq!(patiently(|| ready(answers.pop().unwrap())).await.unwrap(), 7);
        assert_eq!(begin.elapsed(), 2 * limits::START_PAUSE);

        let begin = Instant::now();
        let never: Result<(), _> =
            patiently(|| ready(Err(TlsError::TooEarly("tomorrow".to_owned()).into()))).await;
        assert!(!never.unwrap_err().is_hopeless());
        assert!(begin.elapsed() >= limits::START_PATIENCE);

        let mut reads = 0;
        let bad: Result<(), _> = patiently(|| {
            reads += 1;
            ready(Err(TlsError::NoKey.into()))
        })
        .await;
        assert!(bad.unwrap_err().is_hopeless() && reads == 1);
    }
}
