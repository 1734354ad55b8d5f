//! Rows of sandboxes that were made ahead and belong to nobody yet.

use super::{Doing, Store, StoreError, StoreResult, now_us};
use bulkhead_protocol::SandboxId;
use rusqlite::params;

impl Store {
    /// Writes the row of one that is about to be made ahead.
    pub(crate) async fn insert_spare(&self, id: SandboxId, image: String) -> StoreResult<()> {
        self.run(move |db| {
            db.prepare_cached(
                "INSERT INTO sandboxes (id, created_by, created_us, name, image, settings, status, launch)
                 VALUES (?1, '', ?2, '', ?3, '{}', 'pooled', 1)",
            )
            .and_then(|mut statement| statement.execute(params![id.as_str(), now_us(), image]))
            .doing("insert a sandbox made ahead")
            .map(drop)
        })
        .await
    }

    /// Those that an earlier gateway left.
    pub(crate) async fn spares(&self) -> StoreResult<Vec<SandboxId>> {
        self.run(|db| {
            let doing = "read the sandboxes made ahead";
            let mut statement =
                db.prepare("SELECT id FROM sandboxes WHERE status = 'pooled'").doing(doing)?;
            let ids = statement.query_map((), |row| row.get::<_, String>(0)).doing(doing)?;
            ids.map(|id| {
                let id = id.doing(doing)?;
                SandboxId::parse(&id).map_err(|_| StoreError::Damaged { table: "sandboxes", id })
            })
            .collect()
        })
        .await
    }
}
