//! The gateway's side of the runtime's socket: many calls under way over one seqpacket connection, which is
//! made again when it breaks. Who calls while it is away waits a little.
//!
//! Must never guess an outcome: a call whose answer was lost is an error, and its caller asks for a destroy.

mod images;
mod link;
mod socket;

use crate::dirs::Directory;
use crate::limits;
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::isolation::{Isolation, MAX_ITEMS};
use bulkhead_protocol::runtime::{
    Call, CreateSandbox, LIST_PAGE, Leak, OperatorFile, RUNTIME_PROTOCOL, RefusalKind, Reply, SandboxStatus,
};
use bulkhead_protocol::stats::{Counters, MAX_STEPS, Stats};
use link::Link;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Why a call brought no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("no connection to the runtime")]
    Away,
    #[error("the connection to the runtime broke during a call")]
    Lost,
    #[error("the runtime did not answer within {0:?}")]
    Late(Duration),
    #[error("the runtime refused ({kind:?}): {detail}")]
    Refused { kind: RefusalKind, detail: String },
    #[error("the runtime gave an answer to another question")]
    Unexpected,
    /// What it says would not be understood.
    #[error("the runtime speaks protocol {0}, this gateway {RUNTIME_PROTOCOL}: both must be of one release")]
    Version(u32),
    #[error("encode a call")]
    Encode(#[source] serde_json::Error),
    #[error("send to the runtime")]
    Send(#[source] std::io::Error),
}

/// What the runtime's connection tells unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    /// A runtime answers (again): compare.
    Connected,
    /// An agent ended.
    Died { id: SandboxId, launch: u32 },
}

/// Asks the runtime. Clones share one connection.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeClient {
    link: watch::Receiver<Option<Arc<Link>>>,
    seq: Arc<AtomicU64>,
}

impl RuntimeClient {
    /// Starts to hold a connection to `<run-dir>/runtime.sock`.
    ///
    /// The notices are unbounded because the reader must never wait for who handles them; the runtime, which
    /// is trusted, sends one for each death.
    pub(crate) fn start(run_dir: Arc<Directory>) -> (Self, mpsc::UnboundedReceiver<Notice>) {
        let (published, link) = watch::channel(None);
        let (notices, received) = mpsc::unbounded_channel();
        let seq = Arc::new(AtomicU64::new(1));
        tokio::spawn(link::hold(run_dir, published, notices));
        (Self { link, seq }, received)
    }

    async fn call(&self, call: Call, deadline: Duration) -> Result<Reply, CallError> {
        self.call_with(call, Vec::new(), deadline).await
    }

    /// The same of a call that hands descriptors over.
    async fn call_with(
        &self,
        call: Call,
        descriptors: Vec<OwnedFd>,
        deadline: Duration,
    ) -> Result<Reply, CallError> {
        let mut link = self.link.clone();
        let up = tokio::time::timeout(limits::RUNTIME_WAIT, link.wait_for(Option::is_some)).await;
        let Ok(Ok(link)) = up.map(|up| up.map(|link| (*link).clone())) else { return Err(CallError::Away) };
        let Some(link) = link else { return Err(CallError::Away) };
        link.ask_with(self.seq.fetch_add(1, Ordering::Relaxed), call, descriptors, deadline).await
    }

    /// Whether a runtime answers.
    pub(crate) async fn hello(&self) -> Result<(), CallError> {
        match self.call(Call::Hello { protocol: RUNTIME_PROTOCOL }, limits::RUNTIME_QUICK).await? {
            Reply::Hello { .. } => Ok(()),
            _ => Err(CallError::Unexpected),
        }
    }

    /// Makes a sandbox; gives its launch number.
    pub(crate) async fn create(&self, spec: CreateSandbox) -> Result<u32, CallError> {
        match self.call(Call::Create(spec), limits::RUNTIME_CREATE).await? {
            Reply::Created { launch } => Ok(launch),
            _ => Err(CallError::Unexpected),
        }
    }

    /// Ends a sandbox. One that the runtime does not know is gone already.
    pub(crate) async fn destroy(&self, id: SandboxId) -> Result<(), CallError> {
        match self.call(Call::Destroy { id }, limits::RUNTIME_DESTROY).await {
            Ok(Reply::Destroyed) | Err(CallError::Refused { kind: RefusalKind::Unknown, .. }) => Ok(()),
            Ok(_) => Err(CallError::Unexpected),
            Err(error) => Err(error),
        }
    }

    /// Ends everything that runs in a sandbox and keeps its disk. One of which nothing runs is stopped already.
    pub(crate) async fn stop(&self, id: SandboxId) -> Result<(), CallError> {
        match self.call(Call::Stop { id }, limits::RUNTIME_DESTROY).await {
            Ok(Reply::Stopped) | Err(CallError::Refused { kind: RefusalKind::Unknown, .. }) => Ok(()),
            Ok(_) => Err(CallError::Unexpected),
            Err(error) => Err(error),
        }
    }

    /// Makes everything in a running sandbox stand still.
    pub(crate) async fn freeze(&self, id: SandboxId) -> Result<(), CallError> {
        match self.call(Call::Freeze { id }, limits::RUNTIME_TURN).await? {
            Reply::Frozen => Ok(()),
            _ => Err(CallError::Unexpected),
        }
    }

    /// The opposite of [`Self::freeze`].
    pub(crate) async fn thaw(&self, id: SandboxId) -> Result<(), CallError> {
        match self.call(Call::Thaw { id }, limits::RUNTIME_TURN).await? {
            Reply::Thawed => Ok(()),
            _ => Err(CallError::Unexpected),
        }
    }

    /// Gives a running sandbox another host name; the files in it are its agent's to write.
    pub(crate) async fn name(&self, id: SandboxId, hostname: String) -> Result<(), CallError> {
        match self.call(Call::Name { id, hostname }, limits::RUNTIME_QUICK).await? {
            Reply::Named => Ok(()),
            _ => Err(CallError::Unexpected),
        }
    }

    /// What is in force for a running sandbox.
    pub(crate) async fn inspect(&self, id: SandboxId) -> Result<Isolation, CallError> {
        match self.call(Call::Inspect { id }, limits::RUNTIME_QUICK).await? {
            Reply::Isolation(report) if report.items.len() <= MAX_ITEMS => Ok(report),
            _ => Err(CallError::Unexpected),
        }
    }

    /// What runs, in order of id.
    pub(crate) async fn list(&self) -> Result<Vec<SandboxStatus>, CallError> {
        let page = |after| async move {
            match self.call(Call::List { after }, limits::RUNTIME_QUICK).await? {
                Reply::Sandboxes(page) => Ok(page),
                _ => Err(CallError::Unexpected),
            }
        };
        all_pages(page, |row: &SandboxStatus| row.id.clone()).await
    }

    /// The ids that have a disk, in order.
    pub(crate) async fn disks(&self) -> Result<Vec<SandboxId>, CallError> {
        let page = |after| async move {
            match self.call(Call::ListDisks { after }, limits::RUNTIME_QUICK).await? {
                Reply::Disks(page) => Ok(page),
                _ => Err(CallError::Unexpected),
            }
        };
        all_pages(page, SandboxId::clone).await
    }

    /// What a sandbox uses.
    pub(crate) async fn stats(&self, id: SandboxId) -> Result<Stats, CallError> {
        match self.call(Call::Stats { id }, limits::RUNTIME_QUICK).await? {
            Reply::Stats(stats) => Ok(*stats),
            _ => Err(CallError::Unexpected),
        }
    }

    /// What the runtime has done so far.
    pub(crate) async fn counters(&self) -> Result<Counters, CallError> {
        match self.call(Call::Counters, limits::RUNTIME_QUICK).await? {
            Reply::Counters(counters) if counters.steps.len() <= MAX_STEPS => Ok(*counters),
            _ => Err(CallError::Unexpected),
        }
    }

    /// The text of a file of the operator.
    pub(crate) async fn read_file(&self, file: OperatorFile) -> Result<String, CallError> {
        match self.call(Call::ReadFile { file }, limits::RUNTIME_QUICK).await? {
            Reply::File { text } => Ok(text),
            _ => Err(CallError::Unexpected),
        }
    }

    /// What exists on the host and belongs to no sandbox, the first [`LIST_PAGE`].
    pub(crate) async fn leaks(&self) -> Result<Vec<Leak>, CallError> {
        match self.call(Call::Leaks, limits::RUNTIME_LEAKS).await? {
            Reply::Leaks(leaks) if leaks.len() <= LIST_PAGE => Ok(leaks),
            _ => Err(CallError::Unexpected),
        }
    }
}

/// Asks for page after page, each from the id that the one before ended with.
async fn all_pages<T, F>(
    page: impl Fn(Option<SandboxId>) -> F,
    id: impl Fn(&T) -> SandboxId,
) -> Result<Vec<T>, CallError>
where
    F: Future<Output = Result<Vec<T>, CallError>>,
{
    let mut all: Vec<T> = Vec::new();
    loop {
        let after = all.last().map(&id);
        let rows = page(after.clone()).await?;
        let last = rows.len() < LIST_PAGE;
        // Ids must rise, or this would never end.
        if rows.first().is_some_and(|row| Some(id(row)) <= after) {
            return Err(CallError::Unexpected);
        }
        all.extend(rows);
        if last {
            return Ok(all);
        }
    }
}
