//! The certificate of the API: two texts become what a handshake needs, or a reason why not. Connections take what is in
//! force when they begin; those that are there keep theirs.

use crate::limits;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use time::OffsetDateTime;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_parser::parse_x509_certificate;

/// The one protocol that is spoken after the handshake (RFC 7301).
const ALPN: &[u8] = b"http/1.1";

/// What is wrong with a certificate or its key. Each begins with the name of the setting.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The runtime could not read one of the files, and says which.
    #[error("{0}")]
    Read(String),
    /// A credential could not be read.
    #[error("credential {name}")]
    Credential {
        /// Which.
        name: &'static str,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// There is no certificate in the file.
    #[error("tls-certificate: holds no certificate (PEM)")]
    NoCertificate,
    /// What is there is none.
    #[error("tls-certificate: cannot be understood: {0}")]
    Certificate(String),
    /// There is no key in the file.
    #[error("tls-key: holds no private key (PEM)")]
    NoKey,
    /// What is there is none, or of a kind that is not spoken.
    #[error("tls-key: cannot be used: {0}")]
    Key(String),
    /// The key belongs to another certificate.
    #[error("tls-key: is not the key of tls-certificate")]
    Mismatch,
    /// Its time is over.
    #[error("tls-certificate: ended on {0}")]
    Expired(String),
    /// Its time has not come.
    #[error("tls-certificate: begins on {0}")]
    TooEarly(String),
}

impl TlsError {
    /// Whether it may be good in a moment: a renewal writes two files one after the other, and a clock is set some time
    /// after boot.
    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Mismatch | Self::TooEarly(_))
    }
}

/// A certificate with its key, good at the moment.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    config: Arc<ServerConfig>,
    /// Seconds since 1970 at which it ends.
    pub(crate) ends: i64,
}

impl Certificate {
    /// Of two texts in PEM.
    pub(crate) fn new(chain: &str, key: &str) -> Result<Self, TlsError> {
        Self::at(chain, key, OffsetDateTime::now_utc().unix_timestamp())
    }

    fn at(chain: &str, key: &str, now: i64) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| TlsError::Certificate(error.to_string()))?;
        let ends = lasts(chain.first().ok_or(TlsError::NoCertificate)?, now)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|error| match error {
            pem::Error::NoItemsFound => TlsError::NoKey,
            other => TlsError::Key(other.to_string()),
        })?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Key(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(refusal)?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { config: Arc::new(config), ends })
    }
}

fn refusal(error: rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch,
        rustls::Error::InvalidCertificate(reason) => TlsError::Certificate(format!("{reason:?}")),
        other => TlsError::Key(other.to_string()),
    }
}

/// When a certificate ends, if it is good now.
fn lasts(certificate: &CertificateDer<'_>, now: i64) -> Result<i64, TlsError> {
    let (_, parsed) =
        parse_x509_certificate(certificate).map_err(|error| TlsError::Certificate(error.to_string()))?;
    let validity = parsed.validity();
    if validity.not_before.timestamp() > now {
        return Err(TlsError::TooEarly(validity.not_before.to_string()));
    }
    if validity.not_after.timestamp() < now {
        return Err(TlsError::Expired(validity.not_after.to_string()));
    }
    Ok(validity.not_after.timestamp())
}

/// Whether a gateway could serve with these two texts in PEM.
///
/// # Errors
/// What is wrong.
pub fn check_certificate(chain: &str, key: &str) -> Result<(), TlsError> {
    Certificate::new(chain, key).map(drop)
}

/// The certificate in force; none is plain HTTP.
#[derive(Debug, Default)]
pub(crate) struct Certificates(RwLock<Option<Certificate>>);

impl Certificates {
    /// From now on this one.
    pub(crate) fn set(&self, certificate: Option<Certificate>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certificate;
    }

    pub(crate) fn current(&self) -> Option<Certificate> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Certificate {
    /// The handshake with a client, which has [`limits::HANDSHAKE`] for it.
    pub(crate) async fn greet<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> io::Result<TlsStream<S>> {
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream);
        tokio::time::timeout(limits::HANDSHAKE, handshake).await?
    }
}

#[cfg(test)]
mod tests;
