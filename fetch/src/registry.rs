//! The requests of a fetch: manifests and blobs of one repository, with the token that the registry wants.

use crate::Order;
use crate::auth::{self, Credentials};
use crate::digest::Digest;
use crate::error::Error;
use crate::http::{self, Client, Response};
use crate::limits;
use crate::manifest::{self, ACCEPT, Document, Image};
use crate::reference::Reference;
use ureq::http::header::{CONTENT_TYPE, WWW_AUTHENTICATE};

/// One repository of one registry.
#[derive(Debug)]
pub(crate) struct Registry {
    client: Client,
    reference: Reference,
    credentials: Credentials,
    /// The value of `Authorization`.
    authorization: Option<String>,
}

impl Registry {
    pub(crate) fn new(order: &Order) -> Result<Self, Error> {
        let reference = order.reference.clone();
        let client = Client::new(reference.host(), order.http, &order.roots);
        Ok(Self { client, reference, credentials: order.credentials.clone(), authorization: None })
    }

    /// The manifest for this machine, through the indexes before it.
    pub(crate) fn image(&mut self) -> Result<Image, Error> {
        let mut selector = self.reference.selector();
        let mut promised = self.reference.digest().cloned();
        for _ in 0..limits::INDEXES {
            let (bytes, content_type) = self.manifest(&selector)?;
            if let Some(promised) = &promised {
                promised.check("the manifest", &bytes)?;
            }
            match manifest::read(&bytes)? {
                Document::Index(entry) => {
                    selector = entry.digest.to_string();
                    promised = Some(entry.digest);
                }
                Document::Manifest { media_type, manifest } => {
                    let media_type = media_type.unwrap_or(content_type);
                    return Ok(Image { digest: Digest::of(&bytes), bytes, media_type, manifest });
                }
            }
        }
        Err(Error::Malformed("index"))
    }

    /// The bytes of a manifest and their type.
    fn manifest(&mut self, selector: &str) -> Result<(Vec<u8>, String), Error> {
        let response = self.get(&format!("manifests/{selector}"), &[("accept", ACCEPT.to_owned())])?;
        let response = self.good(response, &[200], "the manifest")?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_owned();
        Ok((http::body(response, "the manifest", limits::MANIFEST)?, kind))
    }

    /// The bytes of a blob from `start` on, or all of them: the status says which.
    pub(crate) fn blob(&mut self, digest: &Digest, start: u64) -> Result<Response, Error> {
        let range = (start > 0).then(|| ("range", format!("bytes={start}-")));
        let headers: Vec<_> = range.into_iter().collect();
        let response = self.get(&format!("blobs/{digest}"), &headers)?;
        self.good(response, &[200, 206, 416], "a layer")
    }

    fn good(&self, response: Response, good: &[u16], what: &'static str) -> Result<Response, Error> {
        let status = response.status().as_u16();
        if good.contains(&status) {
            return Ok(response);
        }
        Err(Error::Status { host: self.reference.host().to_owned(), status, what })
    }

    /// Asks; a challenge is answered once.
    fn get(&mut self, rest: &str, headers: &[(&'static str, String)]) -> Result<Response, Error> {
        let (host, repository) = (self.reference.host(), self.reference.repository());
        let address = format!("{}://{host}/v2/{repository}/{rest}", self.client.scheme());
        let response = self.client.get(&address, &self.with_token(headers))?;
        if response.status().as_u16() != 401 {
            return Ok(response);
        }
        let challenge = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.ok_or(Error::Authentication)?;
        let authorization = auth::answer(&self.client, &self.credentials, challenge, repository)?;
        self.authorization = Some(authorization);
        self.client.get(&address, &self.with_token(headers))
    }

    fn with_token(&self, headers: &[(&'static str, String)]) -> Vec<(&'static str, String)> {
        let token = self.authorization.iter().map(|value| ("authorization", value.clone()));
        headers.iter().cloned().chain(token).collect()
    }
}
