//! A plain hyper server: the output of one command as a chunked body, and nothing else. It is what a stream
//! costs at least, once hyper is what writes it.
//!
//! Prints its port, and answers every `GET` with what its argument, a script for bash, writes.

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::unix::pipe::Receiver;

/// Bytes of one read from the pipe, which holds as much.
const READ: usize = 64 << 10;

/// What a command writes, as it comes.
struct Output {
    child: Child,
    pipe: Receiver,
    buffer: Vec<u8>,
}

impl Output {
    fn of(script: &str) -> io::Result<Self> {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let pipe = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self { child, pipe: Receiver::from_owned_fd(OwnedFd::from(pipe))?, buffer: vec![0; READ] })
    }
}

impl Body for Output {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        let mut into = ReadBuf::new(&mut this.buffer);
        ready!(Pin::new(&mut this.pipe).poll_read(cx, &mut into))?;
        match into.filled() {
            [] => Poll::Ready(None),
            some => Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(some))))),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // One whose output was not read to its end still writes; one that has ended is only reaped.
        let (_killed, _reaped) = (self.child.kill(), self.child.wait());
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> io::Result<()> {
    let script = std::env::args().nth(1).ok_or(io::ErrorKind::InvalidInput)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let script = script.clone();
        tokio::spawn(async move {
            let service = service_fn(move |_request: Request<Incoming>| {
                let output = Output::of(&script);
                async move { output.map(Response::new) }
            });
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                eprintln!("peer: {error}");
            }
        });
    }
}
