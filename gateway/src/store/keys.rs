//! API keys.

use super::{Doing, Store, StoreError, StoreResult, now_us};
use crate::auth::Scopes;
use crate::input::Switch;
use crate::limits;
use rusqlite::{Connection, Row as SqlRow, params};

/// One key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) id: String,
    pub(crate) org: String,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) hash: [u8; 32],
    pub(crate) scopes: Scopes,
    pub(crate) created_us: i64,
    pub(crate) updated_us: i64,
    pub(crate) used_us: Option<i64>,
    pub(crate) expires_us: Option<i64>,
    /// For good, by the host's operator.
    pub(crate) revoked_us: Option<i64>,
    /// As its organisation likes.
    pub(crate) is_active: bool,
}

const COLUMNS: &str =
    "id, org, user, name, hash, scopes, created_us, updated_us, used_us, expires_us, revoked_us, active";

fn key(row: &SqlRow<'_>) -> StoreResult<KeyRow> {
    let doing = "read a key";
    let id: String = row.get(0).doing(doing)?;
    let words: String = row.get(5).doing(doing)?;
    let created_us: i64 = row.get(6).doing(doing)?;
    Ok(KeyRow {
        scopes: Scopes::parse(words.split_whitespace())
            .ok_or_else(|| StoreError::Damaged { table: "api_keys", id: id.clone() })?,
        id,
        org: row.get(1).doing(doing)?,
        user: row.get(2).doing(doing)?,
        name: row.get(3).doing(doing)?,
        hash: row.get(4).doing(doing)?,
        created_us,
        updated_us: row.get::<_, Option<i64>>(7).doing(doing)?.unwrap_or(created_us),
        used_us: row.get(8).doing(doing)?,
        expires_us: row.get(9).doing(doing)?,
        revoked_us: row.get(10).doing(doing)?,
        is_active: row.get(11).doing(doing)?,
    })
}

/// Inserts a key unless the organisation has as many as it may.
pub(super) fn insert(db: &Connection, row: &KeyRow) -> StoreResult<()> {
    let most = i64::try_from(limits::MAX_KEYS).unwrap_or(i64::MAX);
    let rows = db
        .execute(
            &format!(
                "INSERT INTO api_keys ({COLUMNS})
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
                 WHERE (SELECT count(*) FROM api_keys WHERE org = ?2) < ?13"
            ),
            params![
                row.id,
                row.org,
                row.user,
                row.name,
                row.hash,
                row.scopes.words().join(" "),
                row.created_us,
                row.updated_us,
                row.used_us,
                row.expires_us,
                row.revoked_us,
                row.is_active,
                most
            ],
        )
        .doing("insert a key")?;
    if rows == 0 { Err(StoreError::Full("keys")) } else { Ok(()) }
}

fn one(db: &Connection, id: &str) -> StoreResult<KeyRow> {
    let mut statement =
        db.prepare_cached(&format!("SELECT {COLUMNS} FROM api_keys WHERE id = ?1")).doing("read a key")?;
    let mut rows = statement.query(params![id]).doing("read a key")?;
    rows.next().doing("read a key")?.ok_or(StoreError::Missing("key")).and_then(key)
}

impl Store {
    /// Keeps a new key.
    pub(crate) async fn insert_key(&self, row: KeyRow) -> StoreResult<()> {
        self.run_for_good(move |db| insert(db, &row)).await
    }

    /// Every key, oldest first.
    pub(crate) async fn keys(&self) -> StoreResult<Vec<KeyRow>> {
        self.run(|db| {
            let doing = "read the keys";
            let mut statement =
                db.prepare(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY created_us")).doing(doing)?;
            let mut rows = statement.query(()).doing(doing)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().doing(doing)? {
                found.push(key(row)?);
            }
            Ok(found)
        })
        .await
    }

    /// Ends the key `id` from now on, for good; the row as it is then.
    pub(crate) async fn revoke_key(&self, id: String) -> StoreResult<KeyRow> {
        self.run_for_good(move |db| {
            db.execute(
                "UPDATE api_keys SET revoked_us = coalesce(revoked_us, ?2), updated_us = ?2 WHERE id = ?1",
                params![id, now_us()],
            )
            .doing("revoke a key")?;
            one(db, &id)
        })
        .await
    }

    /// Switches the key `id` of `org` on or off; the row as it is then.
    pub(crate) async fn activate_key(&self, org: String, id: String, active: Switch) -> StoreResult<KeyRow> {
        self.run_for_good(move |db| {
            db.execute(
                "UPDATE api_keys SET active = ?3, updated_us = ?4 WHERE id = ?1 AND org = ?2",
                params![id, org, active == Switch::On, now_us()],
            )
            .doing("switch a key")?;
            one(db, &id)
        })
        .await
    }

    /// Drops the key `id` of `org`.
    pub(crate) async fn delete_key(&self, org: String, id: String) -> StoreResult<()> {
        self.run_for_good(move |db| {
            let rows = db
                .execute("DELETE FROM api_keys WHERE id = ?1 AND org = ?2", params![id, org])
                .doing("delete a key")?;
            if rows == 0 { Err(StoreError::Missing("key")) } else { Ok(()) }
        })
        .await
    }

    /// Writes when keys were used last.
    pub(crate) async fn note_uses(&self, uses: Vec<(String, i64)>) -> StoreResult<()> {
        self.run(move |db| {
            let transaction = db.transaction().doing("begin")?;
            for (id, used) in uses {
                transaction
                    .prepare_cached("UPDATE api_keys SET used_us = ?2 WHERE id = ?1")
                    .and_then(|mut statement| statement.execute(params![id, used]))
                    .doing("note the use of a key")?;
            }
            transaction.commit().doing("commit")
        })
        .await
    }
}
