//! Organisations and their users.

use super::keys::{self, KeyRow};
use super::{Doing, Store, StoreError, StoreResult, now_us};
use crate::quota::Quota;
use rusqlite::{Connection, OptionalExtension, params};

/// The name of a user whom nobody named.
const FIRST_USER: &str = "owner";

/// An organisation and its first user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) org: String,
    pub(crate) org_name: String,
    pub(crate) user: String,
    pub(crate) user_name: String,
    pub(crate) email: Option<String>,
}

impl Owner {
    /// Of these ids, and this name.
    pub(crate) fn new(org: impl Into<String>, org_name: impl Into<String>, user: impl Into<String>) -> Self {
        let (org, org_name, user) = (org.into(), org_name.into(), user.into());
        Self { org, org_name, user, user_name: FIRST_USER.to_owned(), email: None }
    }
}

/// An organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrgRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) created_us: i64,
    /// Where it is not what the constants say.
    pub(crate) quota: Option<Quota>,
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UserRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    pub(crate) created_us: i64,
}

fn insert(db: &Connection, owner: &Owner) -> StoreResult<()> {
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
        "INSERT INTO users (id, org, name, email, created_us) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![owner.user, owner.org, owner.user_name, owner.email, now_us()],
    )
    .doing("insert a user")
    .map(drop)
}

fn org(row: &rusqlite::Row<'_>) -> StoreResult<OrgRow> {
    let doing = "read an organisation";
    let id: String = row.get(0).doing(doing)?;
    let quota: Option<String> = row.get(3).doing(doing)?;
    let quota = quota.map(|text| serde_json::from_str(&text)).transpose();
    Ok(OrgRow {
        quota: quota.map_err(|_| StoreError::Damaged { table: "orgs", id: id.clone() })?,
        id,
        name: row.get(1).doing(doing)?,
        created_us: row.get(2).doing(doing)?,
    })
}

impl Store {
    /// Makes an organisation with one user, and where given a key of it: all or nothing.
    pub(crate) async fn create_owner(&self, owner: Owner, key: Option<KeyRow>) -> StoreResult<()> {
        self.run_for_good(move |db| {
            let transaction = db.transaction().doing("begin")?;
            insert(&transaction, &owner)?;
            if let Some(row) = &key {
                keys::insert(&transaction, row)?;
            }
            transaction.commit().doing("commit")
        })
        .await
    }

    /// The organisation with this id or name, and its first user.
    pub(crate) async fn owner(&self, org: String) -> StoreResult<Owner> {
        self.run(move |db| {
            db.query_row(
                "SELECT o.id, o.name, u.id, u.name, u.email FROM orgs o JOIN users u ON u.org = o.id
                 WHERE o.id = ?1 OR o.name = ?1 ORDER BY o.id <> ?1, u.created_us LIMIT 1",
                params![org],
                |row| {
                    Ok(Owner {
                        org: row.get(0)?,
                        org_name: row.get(1)?,
                        user: row.get(2)?,
                        user_name: row.get(3)?,
                        email: row.get(4)?,
                    })
                },
            )
            .optional()
            .doing("read an organisation")?
            .ok_or(StoreError::Missing("organisation"))
        })
        .await
    }

    /// Every organisation, oldest first.
    pub(crate) async fn orgs(&self) -> StoreResult<Vec<OrgRow>> {
        self.run(|db| {
            let doing = "read the organisations";
            let mut statement = db
                .prepare("SELECT id, name, created_us, quota FROM orgs ORDER BY created_us")
                .doing(doing)?;
            let mut rows = statement.query(()).doing(doing)?;
            let mut found = Vec::new();
            while let Some(row) = rows.next().doing(doing)? {
                found.push(org(row)?);
            }
            Ok(found)
        })
        .await
    }

    /// Writes the quota of the organisation `id`.
    pub(crate) async fn set_quota(&self, id: String, quota: Quota) -> StoreResult<()> {
        self.run_for_good(move |db| {
            let text = serde_json::to_string(&quota).map_err(StoreError::Encode)?;
            db.execute("UPDATE orgs SET quota = ?2 WHERE id = ?1", params![id, text])
                .doing("write a quota")
                .map(drop)
        })
        .await
    }

    /// The users of `org`, oldest first.
    pub(crate) async fn users(&self, org: String) -> StoreResult<Vec<UserRow>> {
        self.run(move |db| {
            let doing = "read the users";
            let mut statement = db
                .prepare_cached(
                    "SELECT id, name, email, created_us FROM users WHERE org = ?1 ORDER BY created_us",
                )
                .doing(doing)?;
            let user = |row: &rusqlite::Row<'_>| {
                let (id, name) = (row.get(0)?, row.get(1)?);
                Ok(UserRow { id, name, email: row.get(2)?, created_us: row.get(3)? })
            };
            let rows = statement.query_map(params![org], user).doing(doing)?;
            rows.collect::<Result<_, _>>().doing(doing)
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
}
