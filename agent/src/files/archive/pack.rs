//! From a tree to an archive. Pipes, sockets and devices are left out, as tar(1) does with sockets.

use super::Sink;
use super::format::{Packed, ending};
use super::tar_out::TarOut;
use super::zip_out::ZipOut;
use crate::files::entry::{kind, size};
use crate::files::failure::{Outcome, Stop};
use crate::files::path::{AbsolutePath, Place, Root, text};
use crate::files::spool::Spool;
use crate::files::tree::{Depth, Entries, look, open_directory, open_file, read_link};
use crate::files::upload::replaceable;
use crate::files::wire::Wire;
use bulkhead_protocol::files::{EntryKind, FileDone, Format};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, fstat};
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// Permission bits of a new archive.
const ARCHIVE_MODE: u32 = 0o644;

/// Packs a path into an archive beside it.
pub(crate) fn compress(
    root: &Root,
    path: &AbsolutePath,
    format: Format,
    wire: &mut Wire,
) -> Outcome<FileDone> {
    let source = root.place(path)?;
    look(&source.directory, &source.name)?;
    let archive = [path.bytes(), ending(format)].concat();
    let name = [source.name.to_bytes(), ending(format)].concat();
    let place = Place {
        directory: source.directory.try_clone()?,
        parent: source.parent.clone(),
        name: CString::new(name).map_err(|_| Errno::EINVAL)?,
    };
    let old = replaceable(&place)?;
    let spool = Spool::new(&place)?;
    wire.begin()?;
    let wire = RefCell::new(wire);
    let walk = Walk { wire: &wire };
    let name = source.name.to_bytes();
    if format == Format::Zip {
        let mut sink = ZipOut::new(spool.file());
        walk.member(source.directory.as_fd(), &source.name, name, &mut sink, Depth::TOP)?;
        sink.finish()?;
    } else {
        let mut sink = TarOut::new(Packed::new(spool.file(), format)?);
        walk.member(source.directory.as_fd(), &source.name, name, &mut sink, Depth::TOP)?;
        sink.finish()?.finish()?;
    }
    if let Some(old) = &old {
        spool.inherit(old)?;
    }
    spool.publish(old.as_ref().map_or(ARCHIVE_MODE, crate::files::entry::mode))?;
    Ok(FileDone { path: Some(text(&archive)), ..FileDone::default() })
}

/// Sends a directory as a tar stream.
pub(crate) fn download_tree(root: &Root, path: &AbsolutePath, wire: &mut Wire) -> Outcome<FileDone> {
    let directory = root.open_directory(path)?;
    wire.begin()?;
    let wire = RefCell::new(wire);
    let gone = Cell::new(false);
    let stream = std::io::BufWriter::with_capacity(super::BLOCK, Stream { wire: &wire, gone: &gone });
    let mut sink = TarOut::new(stream);
    let walk = Walk { wire: &wire };
    let sent = walk
        .below(directory, b"", &mut sink, Depth::TOP)
        .and_then(|()| sink.finish())
        .and_then(|mut stream| Ok(stream.flush()?));
    match sent {
        Err(_) if gone.get() => Err(Stop::Gone),
        sent => sent.map(|()| FileDone::default()),
    }
}

/// The connection as a writer. The walk uses it too, between two writes.
struct Stream<'a, 'b> {
    wire: &'a RefCell<&'b mut Wire>,
    gone: &'a Cell<bool>,
}

impl Write for Stream<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.wire.borrow_mut().content(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => {
                self.gone.set(true);
                Err(ErrorKind::BrokenPipe.into())
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A walk that gives signs of life.
#[derive(Clone, Copy)]
struct Walk<'a, 'b> {
    wire: &'a RefCell<&'b mut Wire>,
}

impl Walk<'_, '_> {
    /// One member and what is below it; `name` is what the archive calls it.
    fn member(
        self,
        directory: BorrowedFd<'_>,
        entry: &CStr,
        name: &[u8],
        sink: &mut dyn Sink,
        depth: Depth,
    ) -> Outcome {
        self.wire.borrow_mut().beat()?;
        let stat = match look(&directory, entry) {
            // Gone since it was listed.
            Err(Errno::ENOENT) if depth != Depth::TOP => return Ok(()),
            stat => stat?,
        };
        match kind(&stat) {
            EntryKind::Directory => {
                let opened = open_directory(&directory, entry)?;
                sink.directory(name, &fstat(&opened)?)?;
                self.below(opened, &[name, b"/"].concat(), sink, depth.below()?)
            }
            EntryKind::Link => {
                let target = read_link(&directory, entry)?;
                sink.link(name, &stat, target.as_bytes())
            }
            EntryKind::File => self.file(open_file(&directory, entry)?, name, sink),
            _ => Ok(()),
        }
    }

    /// `prefix` is empty or ends with a slash.
    fn below(self, directory: OwnedFd, prefix: &[u8], sink: &mut dyn Sink, depth: Depth) -> Outcome {
        let below = depth.below()?;
        Entries::of(directory)?.each(|directory, entry| {
            let name = [prefix, entry.name.to_bytes()].concat();
            self.member(directory, &entry.name, &name, sink, below)
        })
    }

    fn file(self, file: OwnedFd, name: &[u8], sink: &mut dyn Sink) -> Outcome {
        let stat: FileStat = fstat(&file)?;
        if kind(&stat) != EntryKind::File {
            return Ok(());
        }
        let mut content = Exactly { file: file.into(), left: size(&stat), walk: self };
        sink.file(name, &stat, &mut content)
    }
}

/// As many bytes as the header says, whatever the file has become.
struct Exactly<'a, 'b> {
    file: File,
    left: u64,
    walk: Walk<'a, 'b>,
}

impl Read for Exactly<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        // The time is up: the error of the system that comes nearest.
        self.walk.wire.borrow_mut().beat().map_err(|_| ErrorKind::TimedOut)?;
        let most = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = match self.file.read(&mut out[..most])? {
            0 => {
                out[..most].fill(0);
                most
            }
            count => count,
        };
        self.left -= u64::try_from(count).unwrap_or(u64::MAX);
        Ok(count)
    }
}
