//! Idempotency-Keys of creates: which sandbox a key made. A row is written together with the sandbox's own, outlives it,
//! and goes after a day, when the create fails, or when its organisation has made too many others.

use super::{Doing, Store, StoreResult, now_us};
use crate::limits::{CREATE_KEY_US, CREATE_KEYS};
use crate::sandbox::Facts;
use bulkhead_protocol::SandboxId;
use rusqlite::{Connection, OptionalExtension, params};

/// A key of a client, and the request that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// A hash of the client's key.
    pub(crate) key: String,
    /// A hash of the request as it was understood.
    pub(crate) digest: String,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Claimed {
    Made,
    /// The key was used before: for which request, and which sandbox it made.
    Known {
        digest: String,
        sandbox: String,
    },
}

fn find(db: &Connection, org: &str, key: &str) -> StoreResult<Option<Claimed>> {
    db.prepare_cached(
        "SELECT digest, sandbox FROM create_keys WHERE org = ?1 AND key = ?2 AND created_us > ?3",
    )
    .and_then(|mut statement| {
        let row = |row: &rusqlite::Row<'_>| Ok(Claimed::Known { digest: row.get(0)?, sandbox: row.get(1)? });
        statement.query_row(params![org, key, now_us().saturating_sub(CREATE_KEY_US)], row).optional()
    })
    .doing("look for a key of a create")
}

/// Takes the key for a sandbox, unless it is taken.
pub(super) fn take(db: &Connection, claim: &Claim, facts: &Facts) -> StoreResult<Claimed> {
    if let Some(known) = find(db, &facts.org, &claim.key)? {
        return Ok(known);
    }
    // One that is older than a day is taken over.
    db.prepare_cached(
        "INSERT OR REPLACE INTO create_keys (org, key, digest, sandbox, created_us) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .and_then(|mut statement| {
        statement.execute(params![facts.org, claim.key, claim.digest, facts.id.as_str(), now_us()])
    })
    .doing("take a key of a create")
    .map(|_| Claimed::Made)
}

/// Drops the oldest keys of `org` that are too many. One whose create goes on stays: it may be asked for.
pub(super) fn trim(db: &Connection, org: &str) -> StoreResult<()> {
    let most = i64::try_from(CREATE_KEYS).unwrap_or(i64::MAX);
    db.execute(
        "DELETE FROM create_keys WHERE org = ?1 AND created_us <= (
             SELECT created_us FROM create_keys WHERE org = ?1 ORDER BY created_us DESC LIMIT 1 OFFSET ?2
         ) AND NOT EXISTS (
             SELECT 1 FROM sandboxes WHERE id = sandbox AND status IN ('creating', 'promised')
         )",
        params![org, most],
    )
    .doing("drop old keys of creates")
    .map(drop)
}

/// Gives the key back that made this sandbox: the create failed, and may be tried again.
pub(super) fn release(db: &Connection, id: &SandboxId) -> StoreResult<()> {
    db.execute("DELETE FROM create_keys WHERE sandbox = ?1", params![id.as_str()])
        .doing("give a key of a create back")
        .map(drop)
}

impl Store {
    /// What this key made, if it was used.
    pub(crate) async fn claimed(&self, org: String, key: String) -> StoreResult<Option<Claimed>> {
        self.run(move |db| find(db, &org, &key)).await
    }

    /// Forgets keys that are older than a day.
    pub(crate) async fn forget_claims(&self) -> StoreResult<()> {
        self.run(|db| {
            let before = now_us().saturating_sub(CREATE_KEY_US);
            db.execute("DELETE FROM create_keys WHERE created_us <= ?1", params![before])
                .doing("forget keys of creates")
                .map(drop)
        })
        .await
    }
}
