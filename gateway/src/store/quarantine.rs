//! Rows that hold what we never write: moved aside as they are, so that they stop nobody and nothing is guessed.

use super::{Doing, StoreError, StoreResult, now_us};
use crate::error::chain;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

/// Puts the row `id` of `sandboxes` aside.
pub(super) fn sandbox(db: &Connection, id: Value, error: &StoreError) -> StoreResult<()> {
    tracing::error!(?id, error = chain(error), "a row of the store cannot be understood and is put aside");
    let doing = "put a sandbox aside";
    db.execute(
        "INSERT INTO quarantine (source, id, content, found_us)
         SELECT 'sandboxes', id, json_object('org', org, 'created_by', created_by, 'created_us', created_us,
                'name', name, 'image', image, 'settings', settings, 'status', status, 'launch', launch), ?2
         FROM sandboxes WHERE id = ?1",
        params![id, now_us()],
    )
    .doing(doing)?;
    db.execute("DELETE FROM sandboxes WHERE id = ?1", params![id]).doing(doing).map(drop)
}
