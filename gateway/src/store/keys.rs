//! Organisations, users and API keys.

use super::{Doing, Store, StoreError, StoreResult, now_us};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

/// An organisation and its first user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) org: String,
    pub(crate) org_name: String,
    pub(crate) user: String,
}

/// One key, without the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyRow {
    pub(crate) id: String,
    pub(crate) org: String,
    pub(crate) user: String,
    pub(crate) name: String,
    pub(crate) hash: [u8; 32],
    pub(crate) created_us: i64,
    pub(crate) expires_us: Option<i64>,
    pub(crate) revoked_us: Option<i64>,
}

const COLUMNS: &str = "id, org, user, name, hash, created_us, expires_us, revoked_us";

fn key(row: &SqlRow<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        id: row.get(0)?,
        org: row.get(1)?,
        user: row.get(2)?,
        name: row.get(3)?,
        hash: row.get(4)?,
        created_us: row.get(5)?,
        expires_us: row.get(6)?,
        revoked_us: row.get(7)?,
    })
}

fn insert_owner(db: &Connection, owner: &Owner) -> StoreResult<()> {
    let rows = db
        .execute(
            "INSERT OR IGNORE INTO orgs (id, name, created_us) VALUES (?1, ?2, ?3)",
            params![owner.org, owner.org_name, now_us()],
        )
        .doing("insert an organisation")?;
    if rows == 0 {
        return Err(StoreError::Exists);
    }
    db.execute(
        "INSERT INTO users (id, org, name, created_us) VALUES (?1, ?2, 'owner', ?3)",
        params![owner.user, owner.org, now_us()],
    )
    .doing("insert a user")
    .map(drop)
}

fn insert_key(db: &Connection, row: &KeyRow) -> StoreResult<()> {
    db.execute(
        "INSERT INTO api_keys (id, org, user, name, hash, created_us, expires_us, revoked_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            row.id,
            row.org,
            row.user,
            row.name,
            row.hash,
            row.created_us,
            row.expires_us,
            row.revoked_us
        ],
    )
    .doing("insert a key")
    .map(drop)
}

impl Store {
    /// Makes an organisation with one user, and where given a key of it: all or nothing.
    pub(crate) async fn create_owner(&self, owner: Owner, key: Option<KeyRow>) -> StoreResult<()> {
        self.run_for_good(move |db| {
            let transaction = db.transaction().doing("begin")?;
            insert_owner(&transaction, &owner)?;
            if let Some(row) = &key {
                insert_key(&transaction, row)?;
            }
            transaction.commit().doing("commit")
        })
        .await
    }

    /// The organisation with this id or name, and its first user.
    pub(crate) async fn owner(&self, org: String) -> StoreResult<Owner> {
        self.run(move |db| {
            db.query_row(
                "SELECT o.id, o.name, u.id FROM orgs o JOIN users u ON u.org = o.id
                 WHERE o.id = ?1 OR o.name = ?1 ORDER BY o.id <> ?1, u.created_us LIMIT 1",
                params![org],
                |row| Ok(Owner { org: row.get(0)?, org_name: row.get(1)?, user: row.get(2)? }),
            )
            .optional()
            .doing("read an organisation")?
            .ok_or(StoreError::Missing("organisation"))
        })
        .await
    }

    /// Whether `user` belongs to `org`.
    pub(crate) async fn is_member(&self, org: String, user: String) -> StoreResult<bool> {
        self.run(move |db| {
            let row =
                db.query_row("SELECT 1 FROM users WHERE id = ?1 AND org = ?2", params![user, org], |row| {
                    row.get::<_, i64>(0)
                });
            Ok(row.optional().doing("read a user")?.is_some())
        })
        .await
    }

    /// Keeps a new key.
    pub(crate) async fn insert_key(&self, row: KeyRow) -> StoreResult<()> {
        self.run_for_good(move |db| insert_key(db, &row)).await
    }

    /// Every key, oldest first.
    pub(crate) async fn keys(&self) -> StoreResult<Vec<KeyRow>> {
        self.run(|db| {
            let mut statement = db
                .prepare(&format!("SELECT {COLUMNS} FROM api_keys ORDER BY created_us"))
                .doing("read the keys")?;
            let rows = statement.query_map((), key).doing("read the keys")?;
            rows.collect::<Result<_, _>>().doing("read the keys")
        })
        .await
    }

    /// Ends the key `id` from now on.
    pub(crate) async fn revoke_key(&self, id: String) -> StoreResult<()> {
        self.run_for_good(move |db| {
            let rows = db
                .execute(
                    "UPDATE api_keys SET revoked_us = coalesce(revoked_us, ?2) WHERE id = ?1",
                    params![id, now_us()],
                )
                .doing("revoke a key")?;
            if rows == 0 { Err(StoreError::Missing("key")) } else { Ok(()) }
        })
        .await
    }
}
