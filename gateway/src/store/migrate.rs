//! Brings a database to the version of this program. Files are only ever added; a released one never changes.

use super::{Doing, StoreError, StoreResult};
use rusqlite::{Connection, params};

const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/0001_first.sql"),
    include_str!("../../migrations/0002_lifecycle.sql"),
    include_str!("../../migrations/0003_tenants.sql"),
];

pub(super) fn run(db: &mut Connection) -> StoreResult<()> {
    let transaction = db.transaction().doing("begin the migration")?;
    transaction
        .execute_batch("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER PRIMARY KEY) STRICT;")
        .doing("make the version table")?;
    let found: i64 = transaction
        .query_row("SELECT coalesce(max(version), 0) FROM schema_version", (), |row| row.get(0))
        .doing("read the version")?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for (version, sql) in (1..).zip(MIGRATIONS) {
        if version > found {
            transaction.execute_batch(sql).doing("migrate")?;
            transaction
                .execute("INSERT INTO schema_version (version) VALUES (?1)", params![version])
                .doing("write the version")?;
        }
    }
    transaction.commit().doing("commit the migration")
}
