//! The worker: does one file operation as the user who asked, and ends.
//!
//! It is a process of its own with a tenant's rights and no more, so it may block and it may fail. It believes nothing
//! that it finds: other processes of the sandbox change names, links and contents while it works. So a path is resolved
//! once, and from there on everything goes by open directories and single names.

mod archive;
mod chmod;
mod copy;
mod delete;
mod download;
mod entry;
mod failure;
mod glob;
mod lines;
mod list;
mod make;
mod path;
mod relocate;
mod search;
mod spool;
mod tree;
mod upload;
mod usage;
mod watch;
mod wire;

use bulkhead_protocol::files::{FileCall, FileDone, FileOperation, MAX_SECONDS};
use bulkhead_sys::fd;
use failure::{Outcome, Stop};
use path::{AbsolutePath, Root};
use std::fs::File;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;
use wire::Wire;

/// Where a worker finds its connection.
pub(crate) const CONNECTION_FD: i32 = 0;
/// Where it finds the length of a [`FileCall`], the call, and what was read of the connection already.
pub(crate) const CALL_FD: i32 = 3;

/// Whether an operation must end by itself; the others last as long as their connection wants.
pub(crate) fn is_bounded(operation: &FileOperation) -> bool {
    use FileOperation as Op;
    !matches!(
        operation,
        Op::Watch { .. }
            | Op::Download { .. }
            | Op::DownloadTree { .. }
            | Op::Upload { .. }
            | Op::UploadTree { .. }
            | Op::List { .. }
    )
}

/// The whole life of a worker.
pub(crate) fn work() -> ExitCode {
    match take().and_then(|(call, mut wire)| run(&call.operation, &mut wire)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn take() -> Outcome<(FileCall, Wire)> {
    let connection = fd::inherited(CONNECTION_FD).map_err(|error| error.errno)?;
    let mut handed = File::from(fd::inherited(CALL_FD).map_err(|error| error.errno)?);
    let mut length = [0; 4];
    handed.read_exact(&mut length)?;
    let mut text = Vec::new();
    Read::take(&mut handed, u32::from_be_bytes(length).into()).read_to_end(&mut text)?;
    let call: FileCall = serde_json::from_slice(&text).map_err(|_| Stop::Gone)?;
    let mut read = Vec::new();
    handed.read_to_end(&mut read)?;
    let limit = is_bounded(&call.operation).then_some(Duration::from_secs(MAX_SECONDS));
    Ok((call, Wire::new(UnixStream::from(connection), read, limit)?))
}

/// Does it and says how it ended.
fn run(operation: &FileOperation, wire: &mut Wire) -> Outcome {
    match Root::open_here().map_err(Stop::from).and_then(|root| execute(&root, operation, wire)) {
        Ok(done) => wire.done(done),
        Err(Stop::Failed(failure)) => wire.failed(failure),
        Err(Stop::Gone) => Err(Stop::Gone),
    }
}

fn execute(root: &Root, operation: &FileOperation, wire: &mut Wire) -> Outcome<FileDone> {
    use FileOperation as Op;
    let path = |text| AbsolutePath::parse(text);
    match operation {
        Op::List { path: at, depth } => list::list(root, &path(at)?, *depth, wire),
        Op::Delete { path: at } => delete::delete(root, &path(at)?, wire),
        Op::MakeDirectory { path: at } => make::directory(root, &path(at)?, wire),
        Op::Touch { path: at } => make::touch(root, &path(at)?, wire),
        Op::Copy { from, to } => copy::copy(root, &path(from)?, &path(to)?, wire),
        Op::Move { from, to } => relocate::relocate(root, &path(from)?, &path(to)?, wire),
        Op::Chmod { path: at, mode } => chmod::chmod(root, &path(at)?, *mode),
        Op::Stat { path: at } => list::stat(root, &path(at)?),
        Op::Download { path: at, range } => download::download(root, &path(at)?, *range, wire),
        Op::Upload { path: at, mode, limit } => upload::upload(root, &path(at)?, *mode, *limit, wire),
        Op::DiskUsage { path: at } => usage::usage(root, &path(at)?, wire),
        Op::Search { path: at, pattern, limit } => {
            search::search(root, &path(at)?, &path::decode(pattern)?, *limit, wire)
        }
        Op::HeadTail { path: at, lines, end } => lines::head_tail(root, &path(at)?, *lines, *end, wire),
        Op::Compress { path: at, format } => archive::pack::compress(root, &path(at)?, *format, wire),
        Op::Extract { archive, dest } => archive::unpack::extract(root, &path(archive)?, &path(dest)?, wire),
        Op::DownloadTree { path: at } => archive::pack::download_tree(root, &path(at)?, wire),
        Op::UploadTree { path: at, limit } => archive::unpack::upload_tree(root, &path(at)?, *limit, wire),
        Op::Watch { path: at, reach, hidden } => watch::watch(root, &path(at)?, *reach, *hidden, wire),
    }
}
