//! Accepts connections and serves HTTP/1.1 on each: the only way into the agent.
//!
//! Everything a peer can make it hold has a limit: connections, header bytes and time, body bytes and time.
//! Generic over where connections come from ([`listener`]).

mod listener;

use crate::boot::{Boot, BootError};
use crate::execution::Executions;
use crate::inner;
use crate::routes;
use crate::slots::{Slot, Slots};
use crate::vitals::Vitals;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use listener::{Listener, Listening};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// Open connections at once: 64 executions, and as many streams and short calls beside them as the gateway
/// allows itself. One more is closed unread.
const MAX_CONNECTIONS: usize = 160;
/// How long a peer may take to send its request line and headers, and how long a connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of one connection's buffers, headers included. hyper takes another piece of a body only while less
/// than this waits for the socket, so it also bounds output in flight.
const CONNECTION_BUFFER: usize = 32 << 10;
/// Pause after an accept that failed for want of descriptors or memory, which a busy loop would not cure.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves until the inner init ends, which ends the sandbox.
pub(crate) async fn run(boot: Boot) -> Result<(), BootError> {
    let init = inner::find()?;
    let Boot { listener, cgroup, oom, vitals, launch, rules } = boot;
    let listener = Listening::on(listener).map_err(BootError::Listener)?;
    let executions = Rc::new(Executions::new(cgroup, oom, Vitals::new(vitals), launch, rules));
    tokio::select! {
        ended = init.ended() => ended.map_err(BootError::Init),
        never = accept_all(&listener, &executions) => match never {},
    }
}

async fn accept_all<L: Listener>(listener: &L, executions: &Rc<Executions>) -> std::convert::Infallible {
    let open = Slots::new(MAX_CONNECTIONS);
    loop {
        match listener.accept().await {
            Ok(stream) => {
                if let Some(slot) = open.take() {
                    tokio::task::spawn_local(serve(stream, Rc::clone(executions), slot));
                }
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve<S>(stream: S, executions: Rc<Executions>, slot: Slot)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| routes::answer(request, Rc::clone(&executions)));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(CONNECTION_BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
    // A peer that broke off or sent no HTTP: its executions died with the body, nobody is left to be told.
    drop(served);
    drop(slot);
}
