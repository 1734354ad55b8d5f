//! The workers of an agent that have no files: each does what the last name of its path says, most of it wrong.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::agent::{StartFailure, StartFailureKind};
use bulkhead_protocol::files::{
    Entry, EntryKind, EventKind, FileCall, FileDone, FileFailure, FileHead, FileOperation, PathText,
    WatchEvent,
};
use bulkhead_protocol::frame::{Decoder, FrameType, encode};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Bytes of the content of every file.
pub(crate) const CONTENT: &[u8] = b"0123456789";
/// Entries of `/many`.
pub(crate) const MANY: usize = 100_000;

pub(crate) fn text(bytes: &[u8]) -> PathText {
    PathText(STANDARD.encode(bytes))
}

fn path_of(operation: &FileOperation) -> Vec<u8> {
    let path = match operation {
        FileOperation::List { path, .. }
        | FileOperation::Delete { path }
        | FileOperation::MakeDirectory { path }
        | FileOperation::Touch { path }
        | FileOperation::Chmod { path, .. }
        | FileOperation::Stat { path }
        | FileOperation::DiskUsage { path }
        | FileOperation::Search { path, .. }
        | FileOperation::HeadTail { path, .. }
        | FileOperation::Compress { path, .. }
        | FileOperation::Download { path, .. }
        | FileOperation::DownloadTree { path }
        | FileOperation::Upload { path, .. }
        | FileOperation::UploadTree { path, .. }
        | FileOperation::Watch { path, .. } => path,
        FileOperation::Copy { from, .. } | FileOperation::Move { from, .. } => from,
        FileOperation::Extract { archive, .. } => archive,
    };
    STANDARD.decode(&path.0).unwrap()
}

/// A failure's name on the wire, as the last name of a path.
fn failure(name: &str) -> Option<FileFailure> {
    serde_json::from_value(serde_json::Value::String(name.to_owned())).ok()
}

pub(crate) fn serve(stream: &mut UnixStream, body: &[u8]) -> io::Result<()> {
    let call: FileCall = serde_json::from_slice(body)?;
    let path = path_of(&call.operation);
    let name = String::from_utf8_lossy(&path).rsplit('/').next().unwrap().to_owned();
    if name == "refused" {
        let body = serde_json::to_vec(&StartFailure { kind: StartFailureKind::ExecutionLimit, errno: None })?;
        let head = format!("HTTP/1.1 422 X\r\nContent-Length: {}\r\n\r\n", body.len());
        return stream.write_all(&[head.as_bytes(), &body].concat());
    }
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: bulkhead-frames\r\n\r\n",
    )?;
    if name == "of-app" && call.user.as_deref() != Some("app:app") {
        return say(stream, FrameType::Head, &FileHead::Failed(FileFailure::Denied));
    }
    if let Some(failure) = failure(&name) {
        return say(stream, FrameType::Head, &FileHead::Failed(failure));
    }
    match name.as_str() {
        "mute" => return stall(stream),
        "garbage" => return stream.write_all(&[77, 0, 0, 0, 0, 1, 2, 3]),
        "no-head" => return say(stream, FrameType::Done, &FileDone::default()),
        _ => {}
    }
    let size = matches!(call.operation, FileOperation::Download { .. }).then_some(CONTENT.len() as u64);
    if let FileOperation::Download { range: Some((first, _)), .. } = &call.operation
        && *first >= CONTENT.len() as u64
    {
        return say(stream, FrameType::Head, &FileHead::Failed(FileFailure::Range));
    }
    let size = if name == "endless" { size.map(|_| 1 << 40) } else { size };
    say(stream, FrameType::Head, &FileHead::Begun { size, modified_us: None })?;
    work(stream, &call, &path, &name)
}

fn work(stream: &mut UnixStream, call: &FileCall, path: &[u8], name: &str) -> io::Result<()> {
    let mut done = FileDone::default();
    match name {
        "late" => std::thread::sleep(Duration::from_secs(3)),
        "cut" => return frame(stream, FrameType::Stdout, b"01234"),
        "fails" => {
            frame(stream, FrameType::Stdout, b"01234")?;
            done.failure = Some(FileFailure::Internal);
            return say(stream, FrameType::Done, &done);
        }
        "short" => frame(stream, FrameType::Stdout, b"01234")?,
        "long" => frame(stream, FrameType::Stdout, b"0123456789 and more")?,
        "bad-line" => frame(stream, FrameType::Stdout, b"{\"path\":\"*\"}\n")?,
        "long-line" => frame(stream, FrameType::Stdout, &[b'x'; 60_000])?,
        "bad-end" => return frame(stream, FrameType::Done, b"{\"bytes\":-1}"),
        "endless" => loop {
            frame(stream, FrameType::Stdout, &[b'e'; 65_536])?;
        },
        "full" => {
            done.failure = Some(FileFailure::NoSpace);
            return say(stream, FrameType::Done, &done);
        }
        _ => content(stream, &call.operation, path, name, &mut done)?,
    }
    say(stream, FrameType::Done, &done)
}

fn content(
    stream: &mut UnixStream,
    operation: &FileOperation,
    path: &[u8],
    name: &str,
    done: &mut FileDone,
) -> io::Result<()> {
    match operation {
        FileOperation::List { .. } => {
            let count = if name == "many" { MANY } else { 3 };
            let mut lines = Vec::new();
            for number in 0..count {
                let path =
                    [path, format!("/{number}").as_bytes(), if number == 2 { b"\xff\"\n" } else { b"" }]
                        .concat();
                lines.extend_from_slice(&serde_json::to_vec(&entry(&path))?);
                lines.push(b'\n');
            }
            for piece in lines.chunks(60_000) {
                frame(stream, FrameType::Stdout, piece)?;
            }
        }
        FileOperation::Stat { .. } => done.stat = Some(entry(path)),
        FileOperation::DiskUsage { .. } => done.bytes = Some(12 << 20),
        FileOperation::Search { .. } => frame(stream, FrameType::Stdout, b"/root/a b\0/root/\xff\0")?,
        // What was asked, so that a test sees every parameter.
        FileOperation::HeadTail { .. } => {
            frame(stream, FrameType::Stdout, format!("{operation:?}").as_bytes())?
        }
        FileOperation::Download { range, .. } => {
            let (first, last) = range.unwrap_or((0, None));
            let last = last.unwrap_or(u64::MAX).min(CONTENT.len() as u64 - 1);
            let part = &CONTENT[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()];
            frame(stream, FrameType::Stdout, part)?;
        }
        FileOperation::DownloadTree { .. } => frame(stream, FrameType::Stdout, b"a tar stream")?,
        FileOperation::Upload { limit, .. } | FileOperation::UploadTree { limit, .. } => {
            assert_eq!(*limit, 5 << 30);
            done.bytes = Some(take(stream)?);
        }
        FileOperation::Watch { .. } => return watch(stream, path, name),
        _ => {}
    }
    Ok(())
}

fn entry(path: &[u8]) -> Entry {
    Entry {
        path: text(path),
        kind: EntryKind::File,
        size: 7,
        mode: 0o100_644,
        uid: 0,
        gid: 0,
        modified_us: 1_000_000,
        target: None,
    }
}

/// Reads the content of an upload; how much it was. One that ends early is told of by a file that a test looks for.
fn take(stream: &mut UnixStream) -> io::Result<u64> {
    let (mut decoder, mut buffer, mut count) = (Decoder::default(), vec![0; 65_536], 0);
    loop {
        let read = stream.read(&mut buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        decoder.feed(&buffer[..read]);
        while let Some(frame) = decoder.next_frame().unwrap() {
            match frame.kind {
                FrameType::Input => count += frame.payload.len() as u64,
                FrameType::InputEnd => return Ok(count),
                kind => panic!("{kind:?} within content"),
            }
        }
    }
}

fn watch(stream: &mut UnixStream, path: &[u8], name: &str) -> io::Result<()> {
    let event = |kind, name: &str, old: Option<&[u8]>| WatchEvent {
        kind,
        path: text(&[path, b"/", name.as_bytes()].concat()),
        old_path: old.map(text),
        time_us: 1_000_000,
    };
    let mut events =
        vec![event(EventKind::Created, "a", None), event(EventKind::Renamed, "b", Some(b"/old"))];
    if name == "burst" {
        events.extend((0..10_000).map(|number| event(EventKind::Modified, &number.to_string(), None)));
    }
    let mut lines = Vec::new();
    for event in events {
        lines.extend_from_slice(&serde_json::to_vec(&event)?);
        lines.push(b'\n');
    }
    for piece in lines.chunks(1000) {
        frame(stream, FrameType::Stdout, piece)?;
    }
    if name == "gone" { Ok(()) } else { stall(stream) }
}

fn say(stream: &mut UnixStream, kind: FrameType, value: &impl serde::Serialize) -> io::Result<()> {
    frame(stream, kind, &serde_json::to_vec(value)?)
}

fn frame(stream: &mut UnixStream, kind: FrameType, payload: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::new();
    encode(kind, payload, &mut bytes);
    stream.write_all(&bytes)
}

fn stall(stream: &mut UnixStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}
