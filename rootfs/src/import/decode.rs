//! A layer as it is stored becomes a tar stream: read, checked and decompressed in a thread of its own, beside the one
//! that hashes what comes out and writes files.

use super::blob::{Blob, BlobReader};
use super::digest::{Digest, Hash, Hashing};
use super::failure::{Failure, Outcome, refused};
use super::limits;
use super::members::Stream;
use flate2::bufread::MultiGzDecoder;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes that go from one thread to the other at once, and how many such blocks may wait.
const BLOCK: usize = 128 << 10;
const WAITING: usize = 16;

/// How a layer is stored; its first bytes say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Tar,
    Gzip,
    Zstd,
    /// A compression that no image may have.
    Other(&'static str),
}

impl Form {
    pub(crate) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A frame that a zstd decoder passes over may come first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', ..] => Self::Other("xz"),
            [b'B', b'Z', b'h', ..] => Self::Other("bzip2"),
            _ => Self::Tar,
        }
    }
}

/// The tar stream of a layer, hashed as it is read.
#[derive(Debug)]
pub(crate) struct Layer {
    blocks: Receiver<std::io::Result<Vec<u8>>>,
    worker: Option<JoinHandle<Digest>>,
    block: Vec<u8>,
    used: usize,
    hash: Hash,
    /// Bytes that came out.
    bytes: u64,
    /// Bytes that the other thread has read.
    stored: Arc<AtomicU64>,
    most: u64,
}

/// What a layer turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Digests {
    /// Of what is stored.
    pub(crate) stored: Digest,
    /// Of the tar stream.
    pub(crate) plain: Digest,
}

impl Layer {
    /// Begins to read; `allowed` bytes may come out.
    pub(crate) fn open(blob: &Blob, allowed: u64) -> Outcome<Self> {
        let stored = Arc::new(AtomicU64::new(0));
        let counted = Hashing::new(blob.reader(), Arc::clone(&stored));
        let mut reader = BufReader::with_capacity(BLOCK, counted);
        let head = reader.fill_buf().map_err(|error| unreadable(&error))?;
        let form = Form::of(head);
        if let Form::Other(name) = form {
            return refused(format!("a layer is compressed with {name}; gzip and zstd are understood"));
        }
        let (sender, blocks) = sync_channel(WAITING);
        let worker = std::thread::Builder::new()
            .name("decode".to_owned())
            .spawn(move || work(reader, form, &sender))
            .map_err(|error| Failure::Other(format!("start a thread: {error}")))?;
        let ratio = blob.size.saturating_mul(limits::RATIO).max(limits::RATIO_FREE);
        Ok(Self {
            blocks,
            worker: Some(worker),
            block: Vec::new(),
            used: 0,
            hash: Hash::default(),
            bytes: 0,
            stored,
            most: ratio.min(allowed),
        })
    }

    /// Reads what is left, which means nothing but counts for the digest, and says what it was.
    pub(crate) fn finish(mut self) -> Outcome<Digests> {
        let mut rest = vec![0; BLOCK];
        while self.read(&mut rest)? > 0 {}
        let worker = self.worker.take().ok_or_else(|| Failure::Other("a layer ends twice".to_owned()))?;
        let stored = worker.join().map_err(|_| Failure::Other("a decoder panicked".to_owned()))?;
        Ok(Digests { stored, plain: self.hash.finish() })
    }

    /// Bytes that came out so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes that were read of what is stored; some of them are still on their way.
    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }
}

impl Stream for Layer {
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize> {
        if self.used == self.block.len() {
            // A worker that has nothing more to send has ended.
            let Ok(next) = self.blocks.recv() else { return Ok(0) };
            self.block = next.map_err(|error| unreadable(&error))?;
            self.used = 0;
            self.bytes += self.block.len() as u64;
            if self.bytes > self.most {
                return refused(format!("a layer unpacks to more than {} bytes", self.most));
            }
            self.hash.take(&self.block);
        }
        let count = out.len().min(self.block.len() - self.used);
        out[..count].copy_from_slice(&self.block[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

/// The other thread: ends early when nobody listens any more.
fn work(
    mut source: BufReader<Hashing<BlobReader>>,
    form: Form,
    out: &SyncSender<std::io::Result<Vec<u8>>>,
) -> Digest {
    let sent = match form {
        Form::Gzip => send_all(&mut MultiGzDecoder::new(&mut source), out),
        Form::Zstd => match zstd(&mut source) {
            Ok(mut decoder) => send_all(&mut decoder, out),
            Err(error) => out.send(Err(error)).is_ok(),
        },
        Form::Tar | Form::Other(_) => send_all(&mut source, out),
    };
    let mut hashing = source.into_inner();
    // What lies behind the compressed stream is part of the blob.
    if sent && let Err(error) = std::io::copy(&mut hashing, &mut std::io::sink()) {
        drop(out.send(Err(error)));
    }
    hashing.hash.finish()
}

fn zstd<R: BufRead>(source: R) -> std::io::Result<zstd::stream::read::Decoder<'static, R>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(source)?;
    decoder.window_log_max(limits::ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// False where it was cut short by an error or by the other side.
fn send_all(source: &mut dyn Read, out: &SyncSender<std::io::Result<Vec<u8>>>) -> bool {
    loop {
        let mut block = Vec::with_capacity(BLOCK);
        match source.take(BLOCK as u64).read_to_end(&mut block) {
            Ok(0) => return true,
            Ok(_) if out.send(Ok(block)).is_err() => return false,
            Ok(_) => {}
            Err(error) => {
                drop(out.send(Err(error)));
                return false;
            }
        }
    }
}

/// A decoder's error means the system's, or content that is none of its.
fn unreadable(error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(errno) => Failure::System(bulkhead_sys::Error {
            call: "read",
            on: "layer".to_owned(),
            errno: nix::errno::Errno::from_raw(errno),
        }),
        None => Failure::Refused(format!("a layer cannot be decompressed: {error}")),
    }
}
