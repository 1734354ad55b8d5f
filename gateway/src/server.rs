//! Accepting and serving connections. Ours, because a ready-made one has no time limit for headers, no bound
//! of connections, and spins when descriptors run out.

mod claim;
mod lobby;
mod patient;
mod turn;

pub(crate) use claim::Claim;

use crate::limits;
use crate::metrics::{Metrics, Open};
use crate::rate::Limiter;
use crate::reply::Reply;
use crate::tls::{Certificate, Certificates};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use lobby::Lobby;
use patient::Patient;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::server::TlsStream;
use turn::Turn;

static ACCEPTS: Limiter = Limiter::new();

/// Says to every connection when to end.
pub(crate) type Closing = watch::Receiver<Phase>;

/// Waits until the process closes.
pub(crate) async fn closed(closing: &mut Closing) {
    // An error means that who could say so is gone: the process is closing.
    drop(closing.wait_for(|phase| *phase == Phase::Closing).await);
}

/// Whether the process goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Serving,
    Closing,
}

/// What answers requests.
pub(crate) trait Handler: Clone + Send + Sync + 'static {
    fn handle(&self, request: Request<Incoming>) -> impl Future<Output = Reply> + Send;
}

/// A connection's place among those of its listener, and when to give it up. What goes on after an upgrade
/// holds it on.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    closing: Closing,
    claim: Claim,
    peer: SocketAddr,
    _held: Arc<(OwnedSemaphorePermit, Open)>,
}

impl Place {
    pub(crate) fn closing(&self) -> Closing {
        self.closing.clone()
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }
}

/// Tells every request the place of its connection.
#[derive(Debug, Clone)]
struct Placed<H> {
    handler: H,
    place: Place,
}

impl<H: Handler> Handler for Placed<H> {
    async fn handle(&self, mut request: Request<Incoming>) -> Reply {
        request.extensions_mut().insert(self.place.clone());
        self.handler.handle(request).await
    }
}

/// The connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    /// One more than connections: the listener has one while it accepts.
    places: Arc<Semaphore>,
    lobby: Arc<Lobby>,
    certificates: Arc<Certificates>,
    closing: Closing,
}

impl Connections {
    /// With these certificates clients speak TLS, as long as there is one.
    pub(crate) fn new(closing: Closing, certificates: Arc<Certificates>) -> Self {
        let places = Arc::new(Semaphore::new(limits::MAX_CONNECTIONS + 1));
        Self { places, lobby: Arc::default(), certificates, closing }
    }

    pub(crate) fn certificates(&self) -> Arc<Certificates> {
        Arc::clone(&self.certificates)
    }

    /// Accepts until the process closes; who comes then waits for the next one, where the listener is handed on.
    pub(crate) async fn accept(&self, listener: TcpListener, metrics: &Metrics, handler: impl Handler) {
        let _accepting = self.places.acquire().await;
        let mut closing = self.closing.clone();
        loop {
            let accepted = tokio::select! {
                biased;
                () = closed(&mut closing) => return,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    pause(&error).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                metrics.connections_refused.inc();
                continue;
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "a connection ended at once");
                continue;
            }
            metrics.connections_refused.inc_by(self.lobby.make_room());
            let (closing, claim) = (self.closing.clone(), Claim::guest(self.lobby.enter()));
            let held = Arc::new((place, metrics.connection()));
            let place = Place { closing: closing.clone(), claim: claim.clone(), peer, _held: held };
            let placed = Placed { handler: handler.clone(), place };
            match self.certificates.current() {
                Some(certificate) => {
                    let failed = metrics.handshakes_failed.clone();
                    tokio::spawn(async move {
                        match greet(&certificate, stream, closing.clone(), &claim).await {
                            Some(stream) => serve(stream, closing, claim, placed).await,
                            None => drop(failed.inc()),
                        }
                    })
                }
                None => tokio::spawn(serve(stream, closing, claim, placed)),
            };
        }
    }

    /// Waits until nothing is accepted any more and every connection has ended.
    pub(crate) async fn drained(&self) {
        let all = u32::try_from(limits::MAX_CONNECTIONS + 1).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        drop(self.places.acquire_many(all).await);
    }
}

/// The handshake of a connection that has its place among those without a key already. It is also finished by a
/// gateway that closes.
async fn greet(
    certificate: &Certificate,
    stream: TcpStream,
    mut closing: Closing,
    claim: &Claim,
) -> Option<TlsStream<TcpStream>> {
    let greeted = tokio::select! {
        greeted = certificate.greet(stream) => greeted,
        () = claim.sent_away() => return None,
        () = async {
            closed(&mut closing).await;
            tokio::time::sleep(limits::FIRST_REQUEST).await;
        } => return None,
    };
    greeted.inspect_err(|error| tracing::debug!(%error, "a TLS handshake failed")).ok()
}

/// After a failed accept: at once where only that connection failed, later where descriptors or memory did.
pub(crate) async fn pause(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return;
    }
    if let Some(held_back) = ACCEPTS.permit() {
        tracing::warn!(%error, held_back, "a connection was not accepted");
    }
    tokio::time::sleep(limits::ACCEPT_PAUSE).await;
}

/// Serves one connection to its end, or to that of the key for which it works. When the process closes, that is once
/// nobody waits on it for an answer any more.
pub(crate) async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    mut closing: Closing,
    claim: Claim,
    handler: impl Handler,
) {
    let turn = Turn::new();
    let (phase, taken) = (closing.clone(), turn.clone());
    let service = service_fn(move |request| {
        taken.taken();
        let (handler, phase) = (handler.clone(), phase.clone());
        // On the heap while it lasts: a connection has room for the future of its request, and that of the largest
        // handler has many KiB.
        let answer: Pin<Box<dyn Future<Output = Result<Reply, Infallible>> + Send>> =
            Box::pin(async move { Ok(last(handler.handle(request).await, &phase)) });
        answer
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HEADER_TIMEOUT)
        .max_header_size(limits::MAX_HEADER_BYTES)
        .max_buf_size(2 * limits::MAX_HEADER_BYTES);
    let io = TokioIo::new(Patient::new(stream, claim.clone(), turn.clone()));
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    let end = tokio::select! {
        end = connection.as_mut() => end,
        () = claim.cut() => {
            tracing::debug!("a connection was cut with its key");
            return;
        }
        () = claim.sent_away() => {
            tracing::debug!("a connection without a key gave way to another");
            return;
        }
        () = claim.unclaimed() => {
            connection.as_mut().graceful_shutdown();
            // The request under way may be the one that shows a key.
            tokio::select! {
                end = connection => end,
                () = claim.cut() => return,
            }
        }
        () = closed(&mut closing) => {
            // A connection on which nothing was read would end at once.
            tokio::select! {
                end = connection.as_mut() => end,
                () = turn.over() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = end {
        tracing::debug!(%error, "a connection of a client ended early");
    }
}

/// Says of an answer that a closing process gives that it is the last of its connection.
fn last(mut reply: Reply, phase: &Closing) -> Reply {
    if *phase.borrow() == Phase::Closing && reply.status() != StatusCode::SWITCHING_PROTOCOLS {
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}
