//! One connection to the runtime and the calls that wait on it; and the task that makes the next one.

use super::socket::Socket;
use super::{CallError, Notice};
use crate::dirs::Directory;
use crate::limits;
use bulkhead_protocol::runtime::{Call, Event, MAX_PACKET, Message, RUNTIME_PROTOCOL, Reply, Request};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// Calls under way by number.
type Pending = HashMap<u64, oneshot::Sender<Reply>>;

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    socket: Socket,
    /// `None` once the connection is dead: nobody may begin to wait then.
    pending: Mutex<Option<Pending>>,
}

/// Takes a call off the list when its caller gives up.
struct Waiting<'a> {
    link: &'a Link,
    seq: u64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(pending) = self.link.lock().as_mut() {
            pending.remove(&self.seq);
        }
    }
}

impl Link {
    fn new(socket: Socket) -> Self {
        Self { socket, pending: Mutex::new(Some(Pending::new())) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) async fn ask(&self, seq: u64, call: Call, deadline: Duration) -> Result<Reply, CallError> {
        self.ask_with(seq, call, Vec::new(), deadline).await
    }

    /// The same of a call that hands descriptors over.
    pub(super) async fn ask_with(
        &self,
        seq: u64,
        call: Call,
        descriptors: Vec<OwnedFd>,
        deadline: Duration,
    ) -> Result<Reply, CallError> {
        let packet = serde_json::to_vec(&Request { seq, call }).map_err(CallError::Encode)?;
        let (answer, reply) = oneshot::channel();
        match self.lock().as_mut() {
            Some(pending) => drop(pending.insert(seq, answer)),
            None => return Err(CallError::Lost),
        }
        let _waiting = Waiting { link: self, seq };
        let exchange = async {
            self.socket.send(&packet, &descriptors).await.map_err(CallError::Send)?;
            // The runtime has its own; who waits for the end of a pipe must not wait for us.
            drop(descriptors);
            reply.await.map_err(|_| CallError::Lost)
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(Ok(Reply::Refused { kind, detail })) => Err(CallError::Refused { kind, detail }),
            Ok(outcome) => outcome,
            Err(_) => Err(CallError::Late(deadline)),
        }
    }

    /// Reads until the connection ends.
    async fn read(&self, notices: &mpsc::UnboundedSender<Notice>) -> io::Result<()> {
        let mut buffer = Box::new([0; MAX_PACKET]);
        while let Some(packet) = self.socket.receive(&mut buffer).await? {
            match serde_json::from_slice::<Message>(packet)? {
                Message::Reply { seq, reply } => self.deliver(seq, reply),
                Message::Event(Event::Died { id, launch }) => {
                    if notices.send(Notice::Died { id, launch }).is_err() {
                        tracing::debug!("nobody listens to the runtime's notices any more");
                    }
                }
            }
        }
        Ok(())
    }

    fn deliver(&self, seq: u64, reply: Reply) {
        let caller = self.lock().as_mut().and_then(|pending| pending.remove(&seq));
        if caller.is_none_or(|caller| caller.send(reply).is_err()) {
            tracing::debug!(seq, "the runtime answered a call that nobody waits for");
        }
    }

    /// Every caller gets [`CallError::Lost`].
    fn close(&self) {
        drop(self.lock().take());
    }
}

/// Holds a connection for ever.
pub(super) async fn hold(
    run_dir: Arc<Directory>,
    published: watch::Sender<Option<Arc<Link>>>,
    notices: mpsc::UnboundedSender<Notice>,
) {
    let mut pause = limits::RECONNECT_FIRST;
    loop {
        match Socket::connect(&run_dir.entry("runtime.sock")) {
            Ok(socket) => {
                let link = Arc::new(Link::new(socket));
                let failure = tokio::select! {
                    end = link.read(&notices) => end.err().map(|error| error.to_string()),
                    error = greet(&link, &published, &notices) => Some(error.to_string()),
                };
                if published.send_replace(None).is_some() {
                    pause = limits::RECONNECT_FIRST;
                }
                link.close();
                tracing::warn!(failure, "the connection to the runtime ended");
            }
            Err(error) => tracing::debug!(%error, "the runtime does not accept"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(limits::RECONNECT_MOST);
    }
}

/// Says hello and publishes the link; returns only when that fails.
async fn greet(
    link: &Arc<Link>,
    published: &watch::Sender<Option<Arc<Link>>>,
    notices: &mpsc::UnboundedSender<Notice>,
) -> CallError {
    let hello = Call::Hello { protocol: RUNTIME_PROTOCOL };
    match link.ask(0, hello, limits::RUNTIME_QUICK).await {
        Ok(Reply::Hello { protocol: RUNTIME_PROTOCOL, release }) => {
            tracing::info!(release, "connected to the runtime");
        }
        Ok(Reply::Hello { protocol, .. }) => return CallError::Version(protocol),
        Ok(_) => return CallError::Unexpected,
        Err(error) => return error,
    }
    published.send_replace(Some(Arc::clone(link)));
    if notices.send(Notice::Connected).is_err() {
        tracing::debug!("nobody listens to the runtime's notices any more");
    }
    std::future::pending().await
}
