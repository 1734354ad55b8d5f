//! The rows of sandboxes. A row is written before the runtime is asked for anything and dropped only after
//! the runtime has proven that nothing is left. What is written of a launch never overrides a later one.

use super::{Claim, Claimed, Doing, Store, StoreError, StoreResult, claims, quarantine};
use crate::sandbox::{Facts, Settings};
use bulkhead_protocol::SandboxId;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

/// What the store believes about a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Asked for, and nobody was told yet: the next start removes it.
    Creating,
    /// Asked for, and its client was told or may ask again: the next start finishes it.
    Promised,
    Running,
    /// Its processes are being ended.
    Sleeping,
    Asleep,
    Killed,
    Error,
    Deleting,
}

impl Status {
    const ALL: [Self; 8] = [
        Self::Creating,
        Self::Promised,
        Self::Running,
        Self::Sleeping,
        Self::Asleep,
        Self::Killed,
        Self::Error,
        Self::Deleting,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Promised => "promised",
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Asleep => "asleep",
            Self::Killed => "killed",
            Self::Error => "error",
            Self::Deleting => "deleting",
        }
    }
}

/// One sandbox as it was when the last gateway wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) facts: Facts,
    pub(crate) status: Status,
    /// The last launch that the runtime was asked for; [`NEVER`] where the create failed.
    pub(crate) launch: u32,
}

/// No launch has this number: what was made so far, nobody was told of.
pub(crate) const NEVER: u32 = 0;

fn encode(settings: &Settings) -> StoreResult<String> {
    serde_json::to_string(settings).map_err(StoreError::Encode)
}

/// Writes a row, over one without an owner where there is one.
fn put(db: &Connection, row: &Row) -> StoreResult<()> {
    let facts = &row.facts;
    let settings = encode(&facts.settings)?;
    let wrote = db
        .prepare_cached(
            "INSERT INTO sandboxes (id, org, created_by, created_us, name, image, settings, status, launch)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET org = ?2, created_by = ?3, created_us = ?4, name = ?5, settings = ?7,
             status = ?8 WHERE status = 'pooled'",
        )
        .and_then(|mut statement| {
            statement.execute(params![
                facts.id.as_str(),
                facts.org,
                facts.created_by,
                facts.created_us,
                facts.name,
                facts.image,
                settings,
                row.status.word(),
                row.launch
            ])
        })
        .doing("write a sandbox")?;
    if wrote == 1 { Ok(()) } else { Err(StoreError::Exists) }
}

fn mark_deleting(db: &Connection, id: &SandboxId) -> StoreResult<()> {
    db.prepare_cached("UPDATE sandboxes SET status = 'deleting' WHERE id = ?1")
        .and_then(|mut statement| statement.execute(params![id.as_str()]))
        .doing("begin to delete a sandbox")
        .map(drop)
}

fn all(db: &Connection) -> StoreResult<Vec<Row>> {
    let mut statement = db
        .prepare(
            "SELECT id, org, created_by, created_us, name, image, settings, status, launch FROM sandboxes
             WHERE status <> 'pooled'",
        )
        .doing("read the sandboxes")?;
    let mut rows = statement.query(()).doing("read the sandboxes")?;
    let (mut found, mut torn) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next().doing("read the sandboxes")? {
        match decode(row) {
            Ok(row) => found.push(row),
            Err(error) => torn.push((row.get::<_, Value>(0).doing("read a sandbox")?, error)),
        }
    }
    for (id, error) in torn {
        quarantine::sandbox(db, id, &error)?;
    }
    Ok(found)
}

fn decode(row: &rusqlite::Row<'_>) -> StoreResult<Row> {
    let doing = "read a sandbox";
    let id: String = row.get(0).doing(doing)?;
    let damaged = || StoreError::Damaged { table: "sandboxes", id: id.clone() };
    let settings: String = row.get(6).doing(doing)?;
    let settings: Settings = serde_json::from_str(&settings).map_err(|_| damaged())?;
    settings.limits.check().map_err(|_| damaged())?;
    let word: String = row.get(7).doing(doing)?;
    Ok(Row {
        facts: Facts {
            id: SandboxId::parse(&id).map_err(|_| damaged())?,
            org: row.get(1).doing(doing)?,
            created_by: row.get(2).doing(doing)?,
            created_us: row.get(3).doing(doing)?,
            name: row.get(4).doing(doing)?,
            image: row.get(5).doing(doing)?,
            settings,
        },
        status: Status::ALL.into_iter().find(|status| status.word() == word).ok_or_else(damaged)?,
        launch: row.get(8).doing(doing)?,
    })
}

impl Store {
    /// Writes a new row, or gives one that was made ahead its owner; together with the claim on its key.
    pub(crate) async fn put_sandbox(&self, row: Row, claim: Option<Claim>) -> StoreResult<Claimed> {
        let is_due = claim.is_some() && self.trims.create_keys.is_due(&row.facts.org);
        self.run(move |db| {
            let transaction = db.transaction().doing("begin to write a sandbox")?;
            if let Some(claim) = &claim
                && let known @ Claimed::Known { .. } = claims::take(&transaction, claim, &row.facts)?
            {
                return Ok(known);
            }
            put(&transaction, &row)?;
            if is_due {
                claims::trim(&transaction, &row.facts.org)?;
            }
            transaction.commit().doing("write a sandbox").map(|()| Claimed::Made)
        })
        .await
    }

    /// Every row that belongs to somebody. One that cannot be understood is put aside.
    pub(crate) async fn sandboxes(&self) -> StoreResult<Vec<Row>> {
        self.run(|db| all(db)).await
    }

    /// Writes a new status of this launch, unless a later one was written or it is being deleted.
    pub(crate) async fn set_status(&self, id: SandboxId, status: Status, launch: u32) -> StoreResult<()> {
        self.run(move |db| {
            db.prepare_cached(
                "UPDATE sandboxes SET status = ?2, launch = ?3
                 WHERE id = ?1 AND launch <= ?3 AND status <> 'deleting'",
            )
            .and_then(|mut statement| statement.execute(params![id.as_str(), status.word(), launch]))
            .doing("update a sandbox")
            .map(drop)
        })
        .await
    }

    /// Notes that this launch is about to be asked for.
    pub(crate) async fn set_launch(&self, id: SandboxId, launch: u32) -> StoreResult<()> {
        self.run(move |db| {
            db.prepare_cached("UPDATE sandboxes SET launch = ?2 WHERE id = ?1 AND launch < ?2")
                .and_then(|mut statement| statement.execute(params![id.as_str(), launch]))
                .doing("note a launch")
                .map(drop)
        })
        .await
    }

    /// Notes that it shall go; nothing is written over that.
    pub(crate) async fn set_deleting(&self, id: SandboxId) -> StoreResult<()> {
        self.run(move |db| mark_deleting(db, &id)).await
    }

    /// Notes that its create failed: it shall go and the key that made it is free again, both or neither.
    pub(crate) async fn withdraw(&self, id: SandboxId) -> StoreResult<()> {
        self.run(move |db| {
            let transaction = db.transaction().doing("begin to withdraw a sandbox")?;
            claims::release(&transaction, &id)?;
            mark_deleting(&transaction, &id)?;
            transaction
                .execute("UPDATE sandboxes SET launch = ?2 WHERE id = ?1", params![id.as_str(), NEVER])
                .doing("note that a create failed")?;
            transaction.commit().doing("withdraw a sandbox")
        })
        .await
    }

    /// Writes other settings.
    pub(crate) async fn set_settings(&self, id: SandboxId, settings: Settings) -> StoreResult<()> {
        self.run(move |db| {
            let settings = encode(&settings)?;
            db.prepare_cached("UPDATE sandboxes SET settings = ?2 WHERE id = ?1")
                .and_then(|mut statement| statement.execute(params![id.as_str(), settings]))
                .doing("write the settings of a sandbox")
                .map(drop)
        })
        .await
    }

    /// Drops the row.
    pub(crate) async fn delete_sandbox(&self, id: SandboxId) -> StoreResult<()> {
        self.run(move |db| {
            db.prepare_cached("DELETE FROM sandboxes WHERE id = ?1")
                .and_then(|mut statement| statement.execute(params![id.as_str()]))
                .doing("delete a sandbox")
                .map(drop)
        })
        .await
    }
}
