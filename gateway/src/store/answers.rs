//! Answers to requests with an `Idempotency-Key`, kept for a day.

use super::{Doing, Store, StoreResult, now_us};
use crate::limits;
use rusqlite::{OptionalExtension, params};

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// SHA-256 of the request's body.
    pub(crate) digest: [u8; 32],
    pub(crate) status: u16,
    /// `None` where it was too long, or holds a secret.
    pub(crate) body: Option<Vec<u8>>,
}

/// The oldest moment of which answers are kept.
fn oldest() -> i64 {
    let age = i64::try_from(limits::ANSWER_AGE.as_micros()).unwrap_or(i64::MAX);
    now_us().saturating_sub(age)
}

impl Store {
    /// The answer in this scope.
    pub(crate) async fn answer(&self, scope: String) -> StoreResult<Option<Kept>> {
        self.run(move |db| {
            db.prepare_cached(
                "SELECT digest, status, body FROM answers WHERE scope = ?1 AND created_us >= ?2",
            )
            .and_then(|mut statement| {
                statement
                    .query_row(params![scope, oldest()], |row| {
                        Ok(Kept { digest: row.get(0)?, status: row.get(1)?, body: row.get(2)? })
                    })
                    .optional()
            })
            .doing("read an answer")
        })
        .await
    }

    /// Keeps an answer of `org`; from time to time its oldest ones give way.
    pub(crate) async fn keep_answer(&self, scope: String, org: String, kept: Kept) -> StoreResult<()> {
        let most = i64::try_from(limits::ANSWERS).unwrap_or(i64::MAX);
        let is_due = self.trims.answers.is_due(&org);
        self.run(move |db| {
            let transaction = db.transaction().doing("begin")?;
            transaction
                .execute(
                    "INSERT OR REPLACE INTO answers (scope, org, digest, status, body, created_us)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                    params![scope, org, kept.digest, kept.status, kept.body, now_us()],
                )
                .doing("keep an answer")?;
            if is_due {
                transaction
                .execute(
                    "DELETE FROM answers WHERE org = ?1 AND created_us <= (
                         SELECT created_us FROM answers WHERE org = ?1 ORDER BY created_us DESC LIMIT 1 OFFSET ?2
                     )",
                    params![org, most],
                )
                .doing("drop old answers")?;
            }
            transaction.commit().doing("commit")
        })
        .await
    }

    /// Drops the answers that are too old.
    pub(crate) async fn sweep_answers(&self) -> StoreResult<()> {
        self.run(|db| {
            db.execute("DELETE FROM answers WHERE created_us < ?1", params![oldest()])
                .doing("drop old answers")
                .map(drop)
        })
        .await
    }
}
