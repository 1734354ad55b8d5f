//! `Idempotency-Key`: a request that is sent twice runs once. The agent keeps the keys of its own sandbox, so
//! what it gets is a name for organisation, route, sandbox and key together, and for the request a digest.

use crate::error::{ApiError, ApiResult};
use crate::limits::MAX_KEY;
use crate::registry::Sandbox;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulkhead_protocol::agent::{ExecutionSpec, IdempotencyKey};
use hyper::HeaderMap;
use sha2::{Digest, Sha256};

const HEADER: &str = "idempotency-key";

/// A key of a client, scoped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let hash = parts.into_iter().fold(Sha256::new(), |hash, part| {
        // No part can be continued by the next one.
        hash.chain_update(part.len().to_le_bytes()).chain_update(part)
    });
    URL_SAFE_NO_PAD.encode(hash.finalize())
}

/// The key as the client wrote it, if there is one.
pub(crate) fn text(headers: &HeaderMap) -> ApiResult<Option<&[u8]>> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.as_bytes();
    let visible = !key.is_empty() && key.iter().all(u8::is_ascii_graphic);
    if !visible || key.len() > MAX_KEY || values.next().is_some() {
        let rule = format_args!("must be one text of 1 to {MAX_KEY} visible ASCII characters");
        return Err(ApiError::field("Idempotency-Key", rule));
    }
    Ok(Some(key))
}

impl Key {
    /// The key in these headers, if there is one; `route` is the route's template.
    pub(crate) fn read(headers: &HeaderMap, sandbox: &Sandbox, route: &str) -> ApiResult<Option<Self>> {
        let Some(key) = text(headers)? else { return Ok(None) };
        let facts = &sandbox.facts;
        Ok(Some(Self(hash([facts.org.as_bytes(), route.as_bytes(), facts.id.as_str().as_bytes(), key]))))
    }

    /// With the digest of a request, as it was understood.
    pub(super) fn of(self, spec: &ExecutionSpec) -> ApiResult<IdempotencyKey> {
        let body = serde_json::to_vec(spec).map_err(ApiError::internal)?;
        Ok(IdempotencyKey { key: self.0, digest: hash([body.as_slice()]) })
    }
}
