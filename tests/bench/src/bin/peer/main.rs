//! A plain hyper server, and nothing else: what a stream or a file costs at least, once hyper is what carries it.
//!
//! Prints its port. `peer output SCRIPT` answers every `GET` with what a script for bash writes; `peer files
//! DIRECTORY` sends and stores one file.

mod files;
mod output;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// What it serves.
enum Service {
    /// The output of a script.
    Output(String),
    /// A file of a directory.
    Files(PathBuf),
}

/// What it answers with.
enum Answer {
    Output(output::Output),
    Content(files::Content),
    Nothing,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Output(output) => output.poll_next(cx),
            Self::Content(content) => Poll::Ready(content.next()),
            Self::Nothing => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Output(_) => SizeHint::default(),
            Self::Content(content) => SizeHint::with_exact(content.left()),
            Self::Nothing => SizeHint::with_exact(0),
        }
    }
}

async fn answer(service: &Service, request: Request<Incoming>) -> io::Result<Response<Answer>> {
    let answer = match service {
        Service::Output(script) => Answer::Output(output::Output::of(script)?),
        Service::Files(directory) if request.method() == "GET" => {
            Answer::Content(files::Content::open(&directory.join(files::NAME))?)
        }
        Service::Files(directory) => {
            files::store(&directory.join(files::NAME), request.into_body()).await?;
            Answer::Nothing
        }
    };
    Ok(Response::new(answer))
}

fn service() -> Option<Service> {
    let mut arguments = std::env::args().skip(1);
    let (word, of) = (arguments.next()?, arguments.next()?);
    match word.as_str() {
        "output" => Some(Service::Output(of)),
        "files" => Some(Service::Files(of.into())),
        _ => None,
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> io::Result<()> {
    let service = Arc::new(service().ok_or(io::ErrorKind::InvalidInput)?);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = Arc::clone(&service);
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&service, request));
            if let Err(error) = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await {
                eprintln!("peer: {error}");
            }
        });
    }
}
