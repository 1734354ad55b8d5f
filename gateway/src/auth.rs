//! API keys: `bh_` + 8 characters that find the key + 43 that prove it. The store has SHA-256 of the server's
//! pepper and the key; all keys are in memory, so that a request costs one hash and no query.
//!
//! Must never log, return or keep a plain key, and takes the same way for every kind of wrong key.

use crate::error::{ApiError, ApiResult, Error};
use crate::ids;
use crate::store::{KeyRow, Owner, now_us};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use subtle::ConstantTimeEq;

pub(crate) const HEADER: &str = "x-api-key";
const PREFIX: &str = "bh_";
const ID_LEN: usize = 8;
const SECRET_BYTES: usize = 32;
const KEY_LEN: usize = PREFIX.len() + ID_LEN + (SECRET_BYTES * 4).div_ceil(3);

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principal {
    pub(crate) org: String,
    pub(crate) user: String,
}

/// The pepper; its `Debug` shows nothing.
type Pepper = secrecy::SecretSlice<u8>;

/// Every key that was ever made, by id.
#[derive(Debug)]
pub(crate) struct Keys {
    pepper: Pepper,
    rows: RwLock<HashMap<String, KeyRow>>,
}

impl Keys {
    pub(crate) fn new(pepper: Vec<u8>, rows: Vec<KeyRow>) -> Self {
        let rows = rows.into_iter().map(|row| (row.id.clone(), row)).collect();
        Self { pepper: Pepper::from(pepper), rows: RwLock::new(rows) }
    }

    /// A new key of `owner`: its row, and the key itself, which exists nowhere else.
    pub(crate) fn mint(&self, owner: &Owner, name: &str) -> Result<(KeyRow, SecretString), Error> {
        let id = ids::characters::<ID_LEN>()?;
        let secret: [u8; SECRET_BYTES] = ids::random()?;
        let plain = SecretString::from(format!("{PREFIX}{id}{}", URL_SAFE_NO_PAD.encode(secret)));
        let row = KeyRow {
            id,
            org: owner.org.clone(),
            user: owner.user.clone(),
            name: name.to_owned(),
            hash: self.hash(plain.expose_secret().as_bytes()),
            created_us: now_us(),
            expires_us: None,
            revoked_us: None,
        };
        Ok((row, plain))
    }

    /// Makes a key valid.
    pub(crate) fn admit(&self, row: KeyRow) {
        self.rows.write().unwrap_or_else(PoisonError::into_inner).insert(row.id.clone(), row);
    }

    /// Ends a key.
    pub(crate) fn revoke(&self, id: &str) {
        if let Some(row) = self.rows.write().unwrap_or_else(PoisonError::into_inner).get_mut(id) {
            row.revoked_us = row.revoked_us.or_else(|| Some(now_us()));
        }
    }

    fn hash(&self, key: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.pepper.expose_secret()).chain_update(key).finalize().into()
    }

    /// Who sent these headers.
    pub(crate) fn authenticate(&self, headers: &HeaderMap) -> ApiResult<Principal> {
        let mut values = headers.get_all(HEADER).iter();
        let unauthorized = |text: &'static str| ApiError::new(StatusCode::UNAUTHORIZED, text);
        let Some(value) = values.next().filter(|value| !value.is_empty()) else {
            return Err(unauthorized("X-API-Key header required"));
        };
        let invalid = || unauthorized("Invalid or inactive API key");
        if values.next().is_some() {
            return Err(invalid());
        }
        self.check(value.as_bytes()).ok_or_else(invalid)
    }

    fn check(&self, key: &[u8]) -> Option<Principal> {
        // A key of another length is hashed too (at most a header's length), and compared with a row or with
        // zeros: what differs in time does not depend on how much of a key is right.
        let hash = self.hash(key);
        let id = key.get(PREFIX.len()..PREFIX.len() + ID_LEN).and_then(|id| std::str::from_utf8(id).ok());
        let rows = self.rows.read().unwrap_or_else(PoisonError::into_inner);
        let row = id.and_then(|id| rows.get(id));
        let expected = row.map_or([0; 32], |row| row.hash);
        let equal = bool::from(hash.ct_eq(&expected)) && key.len() == KEY_LEN;
        row.filter(|row| equal && row.revoked_us.is_none())
            .filter(|row| row.expires_us.is_none_or(|end| now_us() < end))
            .map(|row| Principal { org: row.org.clone(), user: row.user.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn keys() -> (Keys, KeyRow, String) {
        let keys = Keys::new(vec![7; 32], Vec::new());
        let owner = Owner { org: "o".to_owned(), org_name: "n".to_owned(), user: "u".to_owned() };
        let (row, plain) = keys.mint(&owner, "test").unwrap();
        keys.admit(row.clone());
        (keys, row, plain.expose_secret().to_owned())
    }

    fn ask(keys: &Keys, values: &[&str]) -> Result<Principal, String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_str(value).unwrap());
        }
        keys.authenticate(&headers).map_err(|error| {
            assert_eq!(error.status, StatusCode::UNAUTHORIZED);
            error.message.into_owned()
        })
    }

    #[test]
    fn a_key_has_its_shape_and_opens_its_organisation() {
        let (keys, row, plain) = keys();
        assert_eq!(plain.len(), KEY_LEN);
        assert!(plain.starts_with("bh_") && plain[3..11] == *row.id);
        assert!(plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'));
        assert_eq!(ask(&keys, &[&plain]).unwrap(), Principal { org: "o".to_owned(), user: "u".to_owned() });
    }

    #[test]
    fn everything_else_is_refused_with_one_text() {
        let (keys, _, plain) = keys();
        assert_eq!(ask(&keys, &[]).unwrap_err(), "X-API-Key header required");
        assert_eq!(ask(&keys, &[""]).unwrap_err(), "X-API-Key header required");
        let other = format!("{}A{}", &plain[..20], &plain[21..]);
        let other = if other == plain { plain.replace('A', "B") } else { other };
        for bad in [other.as_str(), &plain[..53], &format!("{plain}x"), "bh_", "bh_unknownkey", "x"] {
            assert_eq!(ask(&keys, &[bad]).unwrap_err(), "Invalid or inactive API key", "{bad}");
        }
        assert!(ask(&keys, &[&plain, &plain]).is_err());
    }

    #[test]
    fn a_revoked_or_expired_key_is_no_key() {
        let (keys, mut row, plain) = keys();
        row.expires_us = Some(now_us() - 1);
        keys.admit(row.clone());
        assert!(ask(&keys, &[&plain]).is_err());
        row.expires_us = None;
        keys.admit(row.clone());
        assert!(ask(&keys, &[&plain]).is_ok());
        keys.revoke(&row.id);
        assert!(ask(&keys, &[&plain]).is_err());
        assert!(!format!("{keys:?}").contains(&plain));
    }
}
