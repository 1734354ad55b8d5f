//! Who did what to which object, when, with which key, and what came of it: one JSON object per line of
//! `<state-dir>/gateway/audit.log`. No secret, no payload, no text of a command; whatever a client chose is a JSON
//! string of bounded length, so that no line can be forged.
//!
//! Must never make a request wait for a disk: lines go to a thread of their own through a bounded channel, and what
//! did not fit is counted in the next line that does. The thread lets a few gather, so that it does not run before
//! the answer whose line it writes: a killed gateway may lose those of [`limits::AUDIT_PAUSE`], one that closes none.

mod file;
mod record;

pub(crate) use record::{Object, Record};

use crate::auth::Principal;
use crate::error::{ApiResult, Error};
use crate::limits;
use crate::metrics::Metrics;
use crate::rate::Limiter;
use file::Log;
use hyper::StatusCode;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread;
use tokio::sync::oneshot;

/// Refused keys come as fast as anybody likes.
static FAILURES: Limiter = Limiter::new();

/// Takes records. Any number of threads may.
#[derive(Debug)]
pub(crate) struct Audit {
    orders: SyncSender<Order>,
    dropped: AtomicU64,
}

/// What the thread does next.
#[derive(Debug)]
enum Order {
    Write(String),
    /// Says that everything before it is written.
    Answer(oneshot::Sender<()>),
}

impl Audit {
    /// Opens the log in `dir` and starts its thread.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        let path = dir.join(file::NAME);
        let mut log = Log::open(dir).map_err(|source| Error::file("open", path, source))?;
        let (orders, queue) = mpsc::sync_channel(limits::AUDIT_QUEUE);
        thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || {
                for order in &queue {
                    thread::sleep(limits::AUDIT_PAUSE);
                    for order in std::iter::once(order).chain(queue.try_iter()) {
                        match order {
                            Order::Write(line) => log.write(&line),
                            // Nobody waits any more: the answer is nobody's loss.
                            Order::Answer(done) => done.send(()).unwrap_or_default(),
                        }
                    }
                }
            })
            .map_err(|source| Error::Start { what: "the audit log", source })?;
        Ok(Self { orders, dropped: AtomicU64::new(0) })
    }

    /// Waits until what was noted is written, or a disk has been slow for [`limits::AUDIT_CLOSE`].
    pub(crate) async fn settled(&self) {
        let (done, written) = oneshot::channel();
        let asked = self.orders.try_send(Order::Answer(done)).is_ok();
        if !asked || !matches!(tokio::time::timeout(limits::AUDIT_CLOSE, written).await, Ok(Ok(()))) {
            tracing::warn!("the last lines of the audit log may be lost");
        }
    }

    /// Notes one thing that was done or refused.
    pub(crate) fn note(&self, metrics: &Metrics, record: Record<'_>) {
        let dropped = self.dropped.swap(0, Ordering::Relaxed);
        let line = match serde_json::to_string(&Record { dropped, ..record }) {
            Ok(line) => line + "\n",
            Err(error) => {
                tracing::error!(%error, "a line of the audit log could not be encoded");
                return;
            }
        };
        match self.orders.try_send(Order::Write(line)) {
            Ok(()) => drop(metrics.audit_lines.inc()),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                metrics.audit_dropped.inc();
                self.dropped.fetch_add(dropped + 1, Ordering::Relaxed);
            }
        }
    }

    /// Notes a key that was not accepted; of a flood only the beginning, and how many were left out.
    pub(crate) fn refused(&self, metrics: &Metrics, record: Record<'_>) {
        self.limited(metrics, &FAILURES, record);
    }

    /// Notes a refusal of a kind that may come as a flood, as [`Self::refused`] does.
    pub(crate) fn limited(&self, metrics: &Metrics, kind: &Limiter, record: Record<'_>) {
        if let Some(held_back) = kind.permit() {
            self.note(metrics, Record { held_back, ..record });
        }
    }

    /// Notes what the server did by itself to an object of `org`, or tried to: the status says what came of it.
    pub(crate) fn system(
        &self,
        metrics: &Metrics,
        org: &str,
        action: &str,
        object: &str,
        outcome: &ApiResult<()>,
    ) {
        let status = outcome.as_ref().map_or_else(|error| error.status, |()| StatusCode::OK).as_u16();
        self.note(metrics, Record { org, user: "system", object, status, ..Record::of(action) });
    }

    /// Notes what the host's operator did.
    pub(crate) fn host(&self, metrics: &Metrics, action: &str, object: &str, status: u16) {
        self.note(metrics, Record { user: "host", object, status, ..Record::of(action) });
    }
}

/// A record's part that a principal fills.
pub(crate) fn by<'a>(principal: &'a Principal, record: Record<'a>) -> Record<'a> {
    Record { org: &principal.org, user: &principal.user, key: &principal.key, ..record }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_gateway_that_closes_loses_no_line() {
        let (dir, metrics) = (tempfile::tempdir().unwrap(), Metrics::new());
        let audit = Audit::open(dir.path()).unwrap();
        let count = || std::fs::read_to_string(dir.path().join(file::NAME)).unwrap().lines().count();
        for _ in 0..100 {
            audit.note(&metrics, Record::of("test"));
        }
        audit.settled().await;
        assert_eq!(count(), 100);
        audit.note(&metrics, Record::of("test"));
        audit.settled().await;
        assert_eq!(count(), 101);
    }
}
