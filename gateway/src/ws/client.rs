//! One client's end of a WebSocket: at most one message on its way out, at most one being read. Whoever holds
//! it drives it, in its own task.

use super::Farewell;
use crate::agent_client::Listen;
use crate::limits;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Utf8Bytes};

/// What happened at the client's end.
#[derive(Debug)]
pub(crate) enum Said {
    /// Keystrokes, as text or as bytes.
    Input(Bytes),
    /// A ping or a pong.
    Alive,
    /// The message that was on its way has been written.
    Sent,
    /// It said goodbye, or its connection is gone.
    Left,
    /// It did what it may not.
    Wrong(Farewell),
}

/// Whether the client's bytes can still be read as messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sense {
    Messages,
    Nothing,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client<S> {
    socket: WebSocketStream<S>,
    /// Since when something has been on its way out.
    sending: Option<Instant>,
    sense: Sense,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// The server's side of a connection whose handshake is over.
    pub(crate) async fn new(stream: S) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(limits::SOCKET_READ)
            .write_buffer_size(0)
            .max_write_buffer_size(limits::SOCKET_WRITE)
            .max_message_size(Some(limits::SOCKET_INPUT))
            .max_frame_size(Some(limits::SOCKET_INPUT));
        let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
        Self { socket, sending: None, sense: Sense::Messages }
    }

    /// Since when the present message has been on its way, if there is one.
    pub(crate) fn sending(&self) -> Option<Instant> {
        self.sending
    }

    /// Sends output. Only while nothing is on its way.
    pub(crate) fn send(&mut self, output: Bytes) -> Result<(), Farewell> {
        self.start(Message::Binary(output))
    }

    /// Sends a note about the output.
    pub(crate) fn note(&mut self, text: String) -> Result<(), Farewell> {
        self.start(Message::Text(Utf8Bytes::from(text)))
    }

    /// Asks for a sign of life.
    pub(crate) fn ping(&mut self) -> Result<(), Farewell> {
        self.start(Message::Ping(Bytes::new()))
    }

    fn start(&mut self, message: Message) -> Result<(), Farewell> {
        self.sending = Some(Instant::now());
        Pin::new(&mut self.socket).start_send(message).map_err(|_| Farewell::SLOW)
    }

    /// Writes what is on its way and waits for what comes next; a client that is not listened to is not read,
    /// not even its pings. Cancel-safe.
    pub(crate) async fn event(&mut self, listen: Listen) -> Said {
        poll_fn(|cx| self.poll_event(cx, listen)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>, listen: Listen) -> Poll<Said> {
        if self.sending.is_some()
            && let Poll::Ready(flushed) = Pin::new(&mut self.socket).poll_flush(cx)
        {
            self.sending = None;
            return Poll::Ready(flushed.map_or_else(|error| self.failed(&error), |()| Said::Sent));
        }
        if listen == Listen::No {
            return Poll::Pending;
        }
        let said = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
            Some(Ok(Message::Text(text))) => Said::Input(Bytes::from(text)),
            Some(Ok(Message::Binary(bytes))) => Said::Input(bytes),
            Some(Ok(Message::Ping(_))) => {
                // Its pong is queued: it goes out also when the client is not listened to for a while.
                self.sending.get_or_insert_with(Instant::now);
                Said::Alive
            }
            Some(Ok(Message::Pong(_) | Message::Frame(_))) => Said::Alive,
            Some(Ok(Message::Close(_))) | None => Said::Left,
            Some(Err(error)) => self.failed(&error),
        };
        Poll::Ready(said)
    }

    fn failed(&mut self, error: &Error) -> Said {
        self.sense = Sense::Nothing;
        match error {
            Error::Capacity(_) => Said::Wrong(Farewell::TOO_LONG),
            Error::Utf8(_) => Said::Wrong(Farewell::NO_TEXT),
            Error::Protocol(_) => Said::Wrong(Farewell::PROTOCOL),
            Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => Said::Wrong(Farewell::SLOW),
            _ => Said::Left,
        }
    }

    /// Says goodbye and waits a little for the answer, so that what was sent last arrives.
    pub(crate) async fn close(mut self, farewell: Option<Farewell>) {
        let end = self.part(farewell);
        if tokio::time::timeout(limits::SOCKET_GRACE, end).await.is_err() {
            tracing::debug!("a client did not answer a close");
        }
    }

    async fn part(&mut self, farewell: Option<Farewell>) {
        if let Some(Farewell { code, reason }) = farewell {
            let frame = CloseFrame { code: CloseCode::from(code), reason: Utf8Bytes::from_static(reason) };
            if self.start(Message::Close(Some(frame))).is_err() {
                return;
            }
        }
        let flushed = poll_fn(|cx| Pin::new(&mut self.socket).poll_flush(cx)).await;
        if flushed.is_err() {
            return;
        }
        if self.sense == Sense::Messages {
            while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self.socket).poll_next(cx)).await {}
            return;
        }
        // What is unread when a connection is closed makes the system reset it, and the client would never
        // read why.
        let mut waste = [0; limits::SOCKET_READ];
        while self.socket.get_mut().read(&mut waste).await.is_ok_and(|count| count > 0) {}
    }
}
