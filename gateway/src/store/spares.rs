//! Rows of sandboxes that were made ahead and belong to nobody yet.

use super::{Doing, Store, StoreError, StoreResult, now_us, quarantine};
use bulkhead_protocol::SandboxId;
use rusqlite::params;
use rusqlite::types::Value;

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

    /// Those that an earlier gateway left. A row that cannot be understood is put aside.
    pub(crate) async fn spares(&self) -> StoreResult<Vec<SandboxId>> {
        self.run(|db| {
            let doing = "read the sandboxes made ahead";
            let mut statement =
                db.prepare("SELECT id FROM sandboxes WHERE status = 'pooled'").doing(doing)?;
            let rows = statement.query_map((), |row| row.get::<_, String>(0)).doing(doing)?;
            let ids: Vec<String> = rows.collect::<Result<_, _>>().doing(doing)?;
            let mut spares = Vec::new();
            for id in ids {
                match SandboxId::parse(&id) {
                    Ok(id) => spares.push(id),
                    Err(_) => {
                        let error = StoreError::Damaged { table: "sandboxes", id: id.clone() };
                        quarantine::sandbox(db, Value::Text(id), &error)?;
                    }
                }
            }
            Ok(spares)
        })
        .await
    }
}
