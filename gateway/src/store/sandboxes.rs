//! The rows of sandboxes. A row is written before the runtime is asked for anything and dropped only after
//! the runtime has proven that nothing is left.

use super::{Doing, Store, StoreError, StoreResult};
use crate::sandbox::Facts;
use bulkhead_protocol::SandboxId;
use rusqlite::{Connection, params};

/// What the store believes about a sandbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// Asked for, and nobody was told yet.
    Creating,
    Running,
    Killed,
    Error,
    Deleting,
}

impl Status {
    const ALL: [Self; 5] = [Self::Creating, Self::Running, Self::Killed, Self::Error, Self::Deleting];

    fn word(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Running => "running",
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
    /// Counts the launches; 0 before the first is known.
    pub(crate) launch: u32,
}

fn insert(db: &Connection, row: &Row) -> StoreResult<()> {
    let facts = &row.facts;
    let settings = serde_json::to_string(&facts.settings).map_err(StoreError::Encode)?;
    db.prepare_cached(
        "INSERT INTO sandboxes (id, org, created_by, created_us, name, image, settings, status, launch)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
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
    .doing("insert a sandbox")
    .map(drop)
}

fn all(db: &Connection) -> StoreResult<Vec<Row>> {
    let mut statement = db
        .prepare(
            "SELECT id, org, created_by, created_us, name, image, settings, status, launch FROM sandboxes",
        )
        .doing("read the sandboxes")?;
    let mut rows = statement.query(()).doing("read the sandboxes")?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().doing("read the sandboxes")? {
        found.push(decode(row)?);
    }
    Ok(found)
}

fn decode(row: &rusqlite::Row<'_>) -> StoreResult<Row> {
    let doing = "read a sandbox";
    let id: String = row.get(0).doing(doing)?;
    let damaged = || StoreError::Damaged { table: "sandboxes", id: id.clone() };
    let settings: String = row.get(6).doing(doing)?;
    let word: String = row.get(7).doing(doing)?;
    Ok(Row {
        facts: Facts {
            id: SandboxId::parse(&id).map_err(|_| damaged())?,
            org: row.get(1).doing(doing)?,
            created_by: row.get(2).doing(doing)?,
            created_us: row.get(3).doing(doing)?,
            name: row.get(4).doing(doing)?,
            image: row.get(5).doing(doing)?,
            settings: serde_json::from_str(&settings).map_err(|_| damaged())?,
        },
        status: Status::ALL.into_iter().find(|status| status.word() == word).ok_or_else(damaged)?,
        launch: row.get(8).doing(doing)?,
    })
}

impl Store {
    /// Writes a new row.
    pub(crate) async fn insert_sandbox(&self, row: Row) -> StoreResult<()> {
        self.run(move |db| insert(db, &row)).await
    }

    /// Every row.
    pub(crate) async fn sandboxes(&self) -> StoreResult<Vec<Row>> {
        self.run(|db| all(db)).await
    }

    /// Writes a new status, and the launch it belongs to.
    pub(crate) async fn set_status(&self, id: SandboxId, status: Status, launch: u32) -> StoreResult<()> {
        self.run(move |db| {
            db.prepare_cached("UPDATE sandboxes SET status = ?2, launch = max(launch, ?3) WHERE id = ?1")
                .and_then(|mut statement| statement.execute(params![id.as_str(), status.word(), launch]))
                .doing("update a sandbox")
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
