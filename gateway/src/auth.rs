//! API keys: `bh_` + 8 characters that find the key + 43 that prove it. The store has SHA-256 of the server's
//! pepper and the key; all keys are in memory, so that a request costs one hash and no query.
//!
//! Must never log, return or keep a plain key, and takes the same way for every kind of wrong key.

mod principal;
mod scope;
mod uses;

pub(crate) use principal::Principal;
pub(crate) use scope::{Scope, Scopes};
pub(crate) use uses::note;

use crate::error::{ApiError, ApiResult, Error};
use crate::ids;
use crate::store::{KeyRow, Owner, now_us};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::{HeaderMap, StatusCode};
use principal::Validity;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use subtle::ConstantTimeEq;
use tokio::sync::watch;

pub(crate) const HEADER: &str = "x-api-key";
const PREFIX: &str = "bh_";
const ID_LEN: usize = 8;
const SECRET_BYTES: usize = 32;
const KEY_LEN: usize = PREFIX.len() + ID_LEN + (SECRET_BYTES * 4).div_ceil(3);

/// The pepper; its `Debug` shows nothing.
type Pepper = secrecy::SecretSlice<u8>;

/// One key, and who waits for its end.
#[derive(Debug)]
struct Entry {
    row: KeyRow,
    validity: watch::Sender<Validity>,
    /// When it was used last, in microseconds since 1970; 0 is never.
    used_us: AtomicI64,
    /// The same, as the store has it.
    noted_us: AtomicI64,
}

impl Entry {
    fn new(row: KeyRow) -> Self {
        let used = row.used_us.unwrap_or(0);
        let (used_us, noted_us) = (AtomicI64::new(used), AtomicI64::new(used));
        Self { row, validity: watch::Sender::new(Validity::Good), used_us, noted_us }
    }

    /// The row as it is now.
    fn shown(&self) -> KeyRow {
        let used = Some(self.used_us.load(Ordering::Relaxed)).filter(|used| *used > 0);
        KeyRow { used_us: used, ..self.row.clone() }
    }
}

/// What a new key shall be.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) name: String,
    pub(crate) scopes: Scopes,
    /// In microseconds since 1970.
    pub(crate) expires_us: Option<i64>,
}

/// Every key, by id.
#[derive(Debug)]
pub(crate) struct Keys {
    pepper: Pepper,
    entries: RwLock<HashMap<String, Entry>>,
    /// Held while a key is changed in the store and here, so that both see changes in one order.
    pub(crate) changes: tokio::sync::Mutex<()>,
}

impl Keys {
    pub(crate) fn new(pepper: Vec<u8>, rows: Vec<KeyRow>) -> Self {
        let entries = rows.into_iter().map(|row| (row.id.clone(), Entry::new(row))).collect();
        let changes = tokio::sync::Mutex::default();
        Self { pepper: Pepper::from(pepper), entries: RwLock::new(entries), changes }
    }

    /// A new key of `owner`: its row, and the key itself, which exists nowhere else.
    pub(crate) fn mint(&self, owner: &Owner, order: Order) -> Result<(KeyRow, SecretString), Error> {
        let id = ids::characters::<ID_LEN>()?;
        let secret: [u8; SECRET_BYTES] = ids::random()?;
        let plain = SecretString::from(format!("{PREFIX}{id}{}", URL_SAFE_NO_PAD.encode(secret)));
        let now = now_us();
        let row = KeyRow {
            id,
            org: owner.org.clone(),
            user: owner.user.clone(),
            name: order.name,
            hash: self.hash(plain.expose_secret().as_bytes()),
            scopes: order.scopes,
            created_us: now,
            updated_us: now,
            used_us: None,
            expires_us: order.expires_us,
            revoked_us: None,
            is_active: true,
        };
        Ok((row, plain))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Entry>> {
        self.entries.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a key that is new.
    pub(crate) fn admit(&self, row: KeyRow) {
        self.write().insert(row.id.clone(), Entry::new(row));
    }

    /// Takes the row of a known key as the store has it; who goes on for a key that has ended is told. One that was
    /// forgotten stays forgotten, one that was revoked stays revoked.
    pub(crate) fn renew(&self, row: KeyRow) {
        let mut entries = self.write();
        let Some(entry) = entries.get_mut(&row.id) else { return };
        let (used_us, revoked_us) = (entry.row.used_us, entry.row.revoked_us.or(row.revoked_us));
        entry.row = KeyRow { used_us, revoked_us, ..row };
        if !entry.row.is_active || revoked_us.is_some() {
            entry.validity.send_replace(Validity::Over);
        } else if *entry.validity.borrow() == Validity::Over {
            // Who was told to end goes on to end.
            entry.validity = watch::Sender::new(Validity::Good);
        }
    }

    /// Forgets a key; who goes on for it is told.
    pub(crate) fn forget(&self, id: &str) {
        if let Some(entry) = self.write().remove(id) {
            entry.validity.send_replace(Validity::Over);
        }
    }

    /// The keys of an organisation, newest first.
    pub(crate) fn of(&self, org: &str) -> Vec<KeyRow> {
        let mut rows: Vec<_> =
            self.read().values().filter(|entry| entry.row.org == org).map(Entry::shown).collect();
        rows.sort_by(|a, b| (b.created_us, &b.id).cmp(&(a.created_us, &a.id)));
        rows
    }

    /// What a key of the organisation may do; `None` where it has no such key.
    pub(crate) fn scopes(&self, org: &str, id: &str) -> Option<Scopes> {
        self.read().get(id).filter(|entry| entry.row.org == org).map(|entry| entry.row.scopes)
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
        let entries = self.read();
        let entry = id.and_then(|id| entries.get(id));
        let expected = entry.map_or([0; 32], |entry| entry.row.hash);
        let equal = bool::from(hash.ct_eq(&expected)) && key.len() == KEY_LEN;
        let now = now_us();
        let entry = entry
            .filter(|entry| equal && entry.row.revoked_us.is_none() && entry.row.is_active)
            .filter(|entry| entry.row.expires_us.is_none_or(|end| now < end))?;
        entry.used_us.fetch_max(now, Ordering::Relaxed);
        let KeyRow { id, org, user, scopes, expires_us, .. } = entry.row.clone();
        Some(Principal { org, user, key: id, scopes, expires_us, validity: entry.validity.subscribe() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;
    use std::time::Duration;

    fn keys() -> (Keys, KeyRow, String) {
        let keys = Keys::new(vec![7; 32], Vec::new());
        let owner = Owner::new("o", "n", "u");
        let order = Order { name: "test".to_owned(), scopes: Scopes::STAR, expires_us: None };
        let (row, plain) = keys.mint(&owner, order).unwrap();
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
        let asked = ask(&keys, &[&plain]).unwrap();
        assert_eq!((asked.org.as_str(), asked.user.as_str(), &asked.key), ("o", "u", &row.id));
        assert!(keys.of("o")[0].used_us.is_some() && keys.of("other").is_empty());
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
        keys.renew(row.clone());
        assert!(ask(&keys, &[&plain]).is_ok());
        keys.renew(KeyRow { revoked_us: Some(1), ..row.clone() });
        assert!(ask(&keys, &[&plain]).is_err());
        keys.renew(row.clone());
        assert!(ask(&keys, &[&plain]).is_err(), "revoked is for good");
        keys.forget(&row.id);
        keys.renew(row);
        assert!(ask(&keys, &[&plain]).is_err(), "forgotten is for good");
        assert!(!format!("{keys:?}").contains(&plain));
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_on_for_a_key_learns_of_its_end() {
        let (keys, mut row, plain) = keys();
        let ends = |asked: Principal| async move {
            tokio::time::timeout(Duration::from_secs(5), asked.ended()).await.is_ok()
        };
        let (before, deleted) = (ask(&keys, &[&plain]).unwrap(), ask(&keys, &[&plain]).unwrap());
        assert!(!ends(before.clone()).await);
        keys.renew(row.clone());
        assert!(!ends(before.clone()).await, "what is on and switched on goes on");
        row.is_active = false;
        keys.renew(row.clone());
        row.is_active = true;
        keys.renew(row.clone());
        assert!(ends(before).await, "it was over in between");
        assert!(ends(deleted).await);
        let again = ask(&keys, &[&plain]).unwrap();
        assert!(!ends(again.clone()).await);
        keys.forget(&row.id);
        assert!(ends(again).await && ask(&keys, &[&plain]).is_err());
    }
}
