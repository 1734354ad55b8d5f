//! A worker: the agent's own program as a process of the tenant's, which does one file operation for the gateway.
//!
//! It gets the connection itself, so that no content passes through the agent. What the agent keeps is another
//! descriptor of it, to notice that the gateway hung up, and the leaf, so that nothing of the worker outlives that.

use super::drive::kill;
use super::leaf::Leaf;
use super::spawn::{self, Main, Outfit};
use super::spec::Directory;
use super::user::{self, Account};
use super::{Executions, refused};
use crate::files::{CALL_FD, CONNECTION_FD, is_bounded};
use crate::slots::Slot;
use crate::watch::watch;
use bulkhead_protocol::agent::{StartFailure, StartFailureKind};
use bulkhead_protocol::files::{FileCall, FileFailure, FileHead, FileOperation, MAX_SECONDS};
use bulkhead_protocol::frame::{FrameType, encode};
use bulkhead_sys::call::exec::Strings;
use bulkhead_sys::op::Op;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::Interest;

/// How long the switch of protocols may take.
const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a call waits for a place. Shorter than the gateway's patience with the first byte of an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a worker whose gateway hung up may take to undo what it began.
const GRACE: Duration = Duration::from_secs(2);
/// A worker keeps its own time. One that is this late is killed.
const LATE: Duration = Duration::from_secs(MAX_SECONDS + 30);

/// A worker that may start.
#[derive(Debug)]
pub(crate) struct Worker {
    executions: Rc<Executions>,
    account: Account,
    call: Vec<u8>,
    limit: Option<Duration>,
    slot: Slot,
}

impl Worker {
    /// Finds the user, and waits for a free place: a client that goes on with its next call may be a moment ahead of
    /// the end of its last worker.
    ///
    /// # Errors
    /// [`StartFailureKind::NoSuchUser`], [`StartFailureKind::ExecutionLimit`].
    pub(crate) async fn admit(executions: Rc<Executions>, call: &FileCall) -> Result<Self, StartFailure> {
        let account = user::find(call.user.as_deref())?;
        let text = serde_json::to_vec(call).map_err(|_| refused(StartFailureKind::Invalid))?;
        let (slots, limit) = match &call.operation {
            FileOperation::Watch { .. } => (&executions.watches, None),
            operation if is_bounded(operation) => (&executions.workers, Some(LATE)),
            _ => (&executions.workers, None),
        };
        let slot = slots.wait(PATIENCE).await.ok_or(refused(StartFailureKind::ExecutionLimit))?;
        Ok(Self { executions, account, call: text, limit, slot })
    }

    /// Runs it from the upgrade of its connection until it or the gateway ends.
    pub(crate) async fn serve(self, upgrade: OnUpgrade) {
        let Ok(Ok(upgraded)) = tokio::time::timeout(UPGRADE_TIMEOUT, upgrade).await else { return };
        let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<tokio::net::UnixStream>>() else {
            return;
        };
        let Ok(connection) = blocking(io.into_inner()) else { return };
        match self.start(&connection, &read_buf).await {
            Ok((leaf, main)) => {
                attend(&leaf, main, connection, self.limit).await;
                leaf.retire().await;
            }
            Err(failure) => tell(connection, &failure),
        }
        drop(self.slot);
    }

    async fn start(&self, connection: &UnixStream, read: &[u8]) -> Result<(Leaf, Main), StartFailure> {
        let rules = &self.executions.rules;
        let call = handed_over(&self.call, read).map_err(|error| spawn::internal(error.raw_os_error()))?;
        let counter = &self.executions.worker_counter;
        counter.set(counter.get().wrapping_add(1));
        let leaf = Leaf::make(&self.executions.group, counter.get())
            .map_err(|error| spawn::failure_of_call(&error))?;
        let outfit = Outfit {
            account: self.account.clone(),
            descriptors: vec![Op::Place(connection.as_fd(), CONNECTION_FD), Op::Place(call.as_fd(), CALL_FD)],
            first_private: CALL_FD + 1,
            // The agent's own are more: a worker goes down a tree with one open directory for each step.
            limits: Vec::new(),
            directory: Directory::Home(c"/".into()),
            execute: Op::ExecuteFile {
                file: rules.program.as_fd(),
                argv: Strings::new(vec![c"bulkhead-agent".to_owned(), c"files".to_owned()]),
                envp: Strings::new(Vec::new()),
            },
        };
        spawn::start_outfit(rules, outfit, leaf).await
    }
}

/// What a worker reads: the length of the call, the call, and what of the connection was read already.
fn handed_over(call: &[u8], read: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(memfd_create(c"call", MFdFlags::MFD_CLOEXEC)?);
    let length = u32::try_from(call.len()).map_err(|_| std::io::ErrorKind::FileTooLarge)?;
    file.write_all(&length.to_be_bytes())?;
    file.write_all(call)?;
    file.write_all(read)?;
    file.rewind()?;
    Ok(file.into())
}

fn blocking(stream: tokio::net::UnixStream) -> std::io::Result<UnixStream> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Waits for the end of a worker, and brings it about where that is due.
async fn attend(leaf: &Leaf, mut main: Main, connection: UnixStream, limit: Option<Duration>) {
    let time_up = async {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        exit = main.ended() => drop(exit),
        () = hung_up(&connection) => match tokio::time::timeout(GRACE, main.ended()).await {
            Ok(_) | Err(_) => {}
        },
        () = time_up => {}
    }
    kill(leaf, &mut main).await;
}

/// Comes back when the other side closed the connection. Content that arrives wakes nobody here.
async fn hung_up(connection: &UnixStream) {
    let Ok(watched) = watch(connection.as_fd(), Interest::PRIORITY) else {
        return std::future::pending().await;
    };
    while let Ok(mut guard) = watched.ready(Interest::PRIORITY).await {
        if guard.ready().is_read_closed() {
            return;
        }
        guard.clear_ready();
    }
}

/// Says that no worker could be started. The frame is short and the first, so there is room for it.
fn tell(mut connection: UnixStream, failure: &StartFailure) {
    let failure = match failure.kind {
        StartFailureKind::ProcessLimit | StartFailureKind::MemoryLimit | StartFailureKind::ExecutionLimit => {
            FileFailure::Resources
        }
        StartFailureKind::RootDenied => FileFailure::Denied,
        _ => FileFailure::Internal,
    };
    let Ok(head) = serde_json::to_vec(&FileHead::Failed(failure)) else { return };
    let mut frame = Vec::new();
    encode(FrameType::Head, &head, &mut frame);
    // Whoever hung up is told nothing.
    drop(connection.write_all(&frame));
}
