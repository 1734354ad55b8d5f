//! What must survive a restart: organisations, keys, sandboxes. One thread owns the SQLite file; everybody
//! else asks it through an async interface that speaks domain types, so that another engine can follow.
//!
//! Must never be on the path of an exec, and no SQL stands outside `store/`.

mod answers;
mod claims;
mod keys;
mod migrate;
mod orgs;
mod quarantine;
mod sandboxes;
mod settings;
mod spares;
mod trims;

pub(crate) use answers::Kept;
pub(crate) use claims::{Claim, Claimed};
pub(crate) use keys::KeyRow;
pub(crate) use orgs::{Owner, UserRow};
pub(crate) use sandboxes::{NEVER, Row, Status};

use crate::error::chain;
use crate::limits;
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use tokio::sync::oneshot;
use trims::Trims;

/// What goes wrong with the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// SQLite refused.
    #[error("{doing}")]
    Sql {
        /// What was being done.
        doing: &'static str,
        /// SQLite's reason.
        #[source]
        source: rusqlite::Error,
    },
    /// The file was written by a newer gateway.
    #[error("the database has version {found}, this gateway knows up to {known}")]
    Newer {
        /// The file's.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// A row holds what we never write.
    #[error("the {table} row {id} is damaged")]
    Damaged {
        /// The table.
        table: &'static str,
        /// Its key.
        id: String,
    },
    /// The writer's thread has ended.
    #[error("the writer has ended")]
    Gone,
    /// Its thread could not be started.
    #[error("start the writer")]
    Thread(#[source] std::io::Error),
    /// Settings of a sandbox that do not become text.
    #[error("encode the settings of a sandbox")]
    Encode(#[source] serde_json::Error),
    /// An organisation of this name, or a sandbox of this id, exists.
    #[error("it exists")]
    Exists,
    /// As many of them as may be.
    #[error("as many {0} as may be exist")]
    Full(&'static str),
    /// No such organisation or key.
    #[error("no such {0}")]
    Missing(&'static str),
}

impl StoreError {
    /// Whether the disk is full: what was asked for is not done, and can be once there is room.
    pub(crate) fn is_no_room(&self) -> bool {
        let Self::Sql { source, .. } = self else { return false };
        source.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

pub(crate) type StoreResult<T> = Result<T, StoreError>;

/// Adds to an error of SQLite what was being done.
trait Doing<T> {
    fn doing(self, doing: &'static str) -> StoreResult<T>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, doing: &'static str) -> StoreResult<T> {
        self.map_err(|source| StoreError::Sql { doing, source })
    }
}

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// Asks the writer. Jobs run in the order in which they were asked for.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    // Unbounded, but each entry belongs to a request or to a sandbox, and both are counted.
    jobs: mpsc::Sender<Job>,
    trims: Arc<Trims>,
}

impl Store {
    /// Opens or makes the database and brings it to our version.
    pub(crate) fn open(path: &Path) -> StoreResult<Self> {
        let mut connection = Connection::open(path).doing("open the database")?;
        // No flush on the path: after a power cut the kernel's state is gone too, and WAL keeps the file
        // whole. Nobody else opens it, so that its index is memory of ours: the file that others would share could not
        // be made on a full disk, and no gateway could start.
        connection
            .execute_batch(
                "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;
                 PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF; PRAGMA wal_autocheckpoint = 0;",
            )
            .doing("configure the database")?;
        migrate::run(&mut connection)?;
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || write(&mut connection, &queue))
            .map_err(StoreError::Thread)?;
        Ok(Self { jobs, trims: Arc::default() })
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        let (answer, done) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // Who asked may be gone; the work is done all the same.
            drop(answer.send(work(connection)));
        });
        self.jobs.send(job).map_err(|_| StoreError::Gone)?;
        done.await.map_err(|_| StoreError::Gone)?
    }

    /// Like [`Self::run`], and on the disk when it returns: for what a power cut must not undo.
    async fn run_for_good<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> StoreResult<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.run(|db| {
            let done = work(db)?;
            flush(db).map(|()| done)
        })
        .await
    }

    /// Whether the writer lives and the file can be read.
    pub(crate) async fn check(&self) -> StoreResult<()> {
        self.run(|db| {
            db.query_row("SELECT count(*) FROM settings", (), |row| row.get::<_, i64>(0))
                .doing("read the settings")
        })
        .await
        .map(drop)
    }
}

/// The writer's thread. Moving the log into the file flushes the disk, and so does the first write after it:
/// it is done seldom, and when nobody waits or the log would become too long.
fn write(connection: &mut Connection, queue: &mpsc::Receiver<Job>) {
    let mut jobs = 0;
    loop {
        let next = if jobs < limits::STORE_JOBS_IDLE {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(limits::STORE_IDLE)
        };
        match next {
            Ok(job) => {
                job(connection);
                jobs += 1;
                if jobs < limits::STORE_JOBS {
                    continue;
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        jobs = 0;
        if let Err(error) = flush(connection) {
            tracing::warn!(error = chain(&error), "the store's log was not moved into its file");
        }
    }
}

/// Moves the log into the file; what was written before is on the disk afterwards.
fn flush(connection: &Connection) -> StoreResult<()> {
    connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE);").doing("move the log into the file")
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> i64 {
    let nanos = time::OffsetDateTime::now_utc().unix_timestamp_nanos();
    i64::try_from(nanos / 1000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
