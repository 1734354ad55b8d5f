//! Requests, and where they may go: encrypted, or to where the operator said; after a redirect as before it.

use crate::error::{Error, shown};
use crate::limits;
use crate::reference::is_loopback;
use std::io::Read;
use std::sync::Arc;
use ureq::http::Uri;
use ureq::http::header::{AUTHORIZATION, LOCATION};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body};

/// Whether anything goes unencrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Http {
    /// Only within this machine, where the registry is on it.
    Loopback,
    /// To the registry, and wherever it redirects.
    Everywhere,
}

/// Certificates that are believed, in memory.
#[derive(Debug, Clone)]
pub struct Roots(Arc<Vec<Certificate<'static>>>);

impl Roots {
    /// Reads a file of certificates (PEM).
    ///
    /// # Errors
    /// [`Error::Certificates`] where it is none.
    pub fn parse(pem: &[u8]) -> Result<Self, Error> {
        let mut all = Vec::new();
        for item in parse_pem(pem) {
            if let PemItem::Certificate(certificate) = item.map_err(|_| Error::Certificates)? {
                all.push(certificate);
            }
        }
        Ok(Self(Arc::new(all)))
    }
}

/// An answer.
pub(crate) type Response = ureq::http::Response<Body>;

/// The client of one fetch.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    http: Http,
    /// The registry is on this machine.
    near: Near,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Near {
    Here,
    Away,
}

impl Client {
    /// For a registry at `host`.
    pub(crate) fn new(host: &str, http: Http, roots: &Roots) -> Self {
        let tls = TlsConfig::builder().root_certs(RootCerts::Specific(Arc::clone(&roots.0))).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent("bulkhead")
            .max_response_header_size(limits::HEADERS)
            .timeout_resolve(Some(limits::PATIENCE))
            .timeout_connect(Some(limits::PATIENCE))
            .timeout_recv_response(Some(limits::PATIENCE))
            .build();
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let near = if is_loopback(host) || is_loopback(name) { Near::Here } else { Near::Away };
        Self { agent: config.new_agent(), http, near }
    }

    /// How the registry is spoken to.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.http == Http::Everywhere || self.near == Near::Here { "http" } else { "https" }
    }

    /// An address of a registry, if we go there.
    pub(crate) fn address(&self, text: &str) -> Result<Uri, Error> {
        let refused = || Error::Address(shown(text));
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(refused)?;
        // A user in it would be sent as credentials.
        let named = uri.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let plain = self.http == Http::Everywhere || self.near == Near::Here && is_loopback(host);
        match uri.scheme_str() {
            Some("https") if !named => Ok(uri),
            Some("http") if !named && plain => Ok(uri),
            _ => Err(refused()),
        }
    }

    /// Asks, following redirects; credentials are shown to nobody but the first who is asked.
    pub(crate) fn get(&self, address: &str, headers: &[(&'static str, String)]) -> Result<Response, Error> {
        let mut uri = self.address(address)?;
        let first = uri.authority().cloned();
        for _ in 0..=limits::REDIRECTS {
            let same = uri.authority() == first.as_ref();
            let sent = headers.iter().filter(|(name, _)| same || *name != AUTHORIZATION.as_str());
            let request =
                sent.fold(self.agent.get(&uri), |request, (name, value)| request.header(*name, value));
            let host = uri.host().unwrap_or_default().to_owned();
            let transport = |source| Error::Transport { host, source: Box::new(source) };
            let response = request.call().map_err(transport)?;
            if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            uri = self.follow(&uri, location.unwrap_or_default())?;
        }
        Err(Error::Redirects)
    }

    /// Where a redirect leads: to a whole address, or to a path of the same host.
    fn follow(&self, from: &Uri, location: &str) -> Result<Uri, Error> {
        let same_host = location.starts_with('/') && !location.starts_with("//");
        match (from.scheme_str(), from.authority()) {
            (Some(scheme), Some(authority)) if same_host => {
                self.address(&format!("{scheme}://{authority}{location}"))
            }
            _ => self.address(location),
        }
    }
}

/// The whole body of an answer that may have `most` bytes.
pub(crate) fn body(response: Response, what: &'static str, most: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    response.into_body().into_reader().take(most + 1).read_to_end(&mut bytes).map_err(Error::Cut)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > most {
        return Err(Error::TooLarge { what, most });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(host: &str, http: Http) -> Client {
        Client::new(host, http, &Roots(Arc::default()))
    }

    #[test]
    fn only_what_was_said_goes_unencrypted() {
        let far = client("ghcr.io", Http::Loopback);
        let near = client("127.0.0.1:5000", Http::Loopback);
        let anywhere = client("ghcr.io", Http::Everywhere);
        assert_eq!((far.scheme(), near.scheme(), anywhere.scheme()), ("https", "http", "http"));
        for (address, allowed) in [
            ("https://x.y/a", [true, true, true]),
            ("http://x.y/a", [false, false, true]),
            ("http://127.0.0.1:9/a", [false, true, true]),
            ("http://localhost/a", [false, true, true]),
            ("http://127.0.0.1.x.y/a", [false, false, true]),
            ("https://user@x.y/a", [false; 3]),
            ("ftp://x.y/a", [false; 3]),
            ("file:///etc/shadow", [false; 3]),
            ("/a", [false; 3]),
            ("", [false; 3]),
        ] {
            let found = [&far, &near, &anywhere].map(|client| client.address(address).is_ok());
            assert_eq!(found, allowed, "{address}");
        }
    }

    #[test]
    fn a_redirect_keeps_its_host_only_where_it_names_none() {
        let client = client("ghcr.io", Http::Loopback);
        let from = client.address("https://ghcr.io/v2/a").unwrap();
        assert_eq!(client.follow(&from, "/b?c=d").unwrap(), "https://ghcr.io/b?c=d");
        assert_eq!(client.follow(&from, "https://cdn.x/b").unwrap(), "https://cdn.x/b");
        for location in ["//cdn.x/b", "b", "http://ghcr.io/b", "http://169.254.169.254/", ""] {
            assert!(client.follow(&from, location).is_err(), "{location}");
        }
    }
}
