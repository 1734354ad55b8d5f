//! Two values that are chosen once: the name of the node and the pepper of the key hashes.

use super::{Doing, Store, StoreResult};
use rusqlite::{OptionalExtension, params};

impl Store {
    /// The setting `name`; where there is none, `fresh` becomes it.
    pub(crate) async fn setting(&self, name: &'static str, fresh: Vec<u8>) -> StoreResult<Vec<u8>> {
        self.run(move |db| {
            db.execute("INSERT OR IGNORE INTO settings (name, value) VALUES (?1, ?2)", params![name, fresh])
                .doing("write a setting")?;
            db.query_row("SELECT value FROM settings WHERE name = ?1", params![name], |row| row.get(0))
                .doing("read a setting")
        })
        .await
    }

    /// Whether no organisation was made yet.
    pub(crate) async fn is_empty(&self) -> StoreResult<bool> {
        self.run(|db| {
            let row = db.query_row("SELECT 1 FROM orgs LIMIT 1", (), |row| row.get::<_, i64>(0));
            Ok(row.optional().doing("look for an organisation")?.is_none())
        })
        .await
    }
}
