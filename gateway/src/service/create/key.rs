//! `Idempotency-Key` of a create: the same request with the same key is answered with the same sandbox, for a day, also by
//! a gateway that was started meanwhile.

use super::{Answer, Order};
use crate::app::App;
use crate::error::{ApiError, ApiResult};
use crate::limits;
use crate::registry::{Goal, Sandbox, State};
use crate::service::life;
use crate::store::{Claim, Claimed};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::image::ImageName;
use hyper::StatusCode;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// A request as it was understood: what a client leaves out and what it says as a default are one.
#[derive(Serialize)]
struct Canonical<'a> {
    name: &'a str,
    image: &'a ImageName,
    settings: &'a crate::sandbox::Settings,
    at_once: bool,
}

/// The claim of an order with this key of a client.
pub(crate) fn claim(key: &[u8], order: &Order) -> ApiResult<Claim> {
    let Order { name, image, settings, answer } = order;
    let canonical = Canonical { name, image, settings, at_once: *answer == Answer::AtOnce };
    let request = serde_json::to_vec(&canonical).map_err(ApiError::internal)?;
    Ok(Claim { key: hash(key), digest: hash(&request) })
}

fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The sandbox that this key has made, once it is made; `None` where it made none, or its create failed.
pub(super) async fn find(
    app: &Arc<App>,
    org: &str,
    claim: &Claim,
    answer: Answer,
) -> ApiResult<Option<Arc<Sandbox>>> {
    let conflict = |text: &'static str| Err(ApiError::new(StatusCode::CONFLICT, text));
    let mut missed = None;
    for _ in 0..limits::CREATE_KEY_LOOKS {
        let known = app.store.claimed(org.to_owned(), claim.key.clone()).await?;
        let Some(Claimed::Known { digest, sandbox: name }) = known else { return Ok(None) };
        if digest != claim.digest {
            return conflict("Idempotency-Key: was used with another request");
        }
        let sandbox = SandboxId::parse(&name).ok().and_then(|id| app.registry.resolve(org, &id));
        let Some(sandbox) = sandbox else {
            // A create that failed since has freed its key before its sandbox went: the next look finds it so.
            if missed.replace(name.clone()) == Some(name) {
                return conflict("Idempotency-Key: the sandbox that was made with it is deleted");
            }
            continue;
        };
        if answer == Answer::AtOnce {
            return Ok(Some(sandbox));
        }
        match life::settled(&sandbox).await? {
            // It was promised, and the promise is kept late; a refusal of this is no news of the key.
            State::Failed { .. } => {
                return life::reach(app, &sandbox, Goal::Started).await.map(|()| Some(sandbox));
            }
            // Its create failed: the key is free in a moment.
            State::Deleting => {}
            _ => return Ok(Some(sandbox)),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn a_hash_is_sha_256_in_hexadecimal() {
        assert_eq!(hash(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }
}
