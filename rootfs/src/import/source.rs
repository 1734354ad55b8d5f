//! Where an image comes from: an archive, of which the places of its members are read once, or a layout directory, of
//! which all files are opened before anything in them is looked at.

use super::blob::Blob;
use super::decode::Form;
use super::failure::{Failure, Outcome, Step, quoted, refused};
use super::limits;
use super::members::{Kind, Members, Stream};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{SFlag, fstat};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

/// Files of an image by the names that manifests call them.
#[derive(Debug)]
pub(crate) struct Source {
    files: BTreeMap<String, Blob>,
}

/// What an import was given, before anything of it is read.
#[derive(Debug)]
pub enum Given {
    /// An archive.
    Archive(File),
    /// A layout directory, its files opened.
    Layout(BTreeMap<String, File>),
}

impl Given {
    /// Opens what `fd` is of. Files of a directory are opened with the rights of the caller and belong to its owner,
    /// who cannot lend rights that way: a hard link to somebody else's file is refused.
    ///
    /// # Errors
    /// [`Failure::Refused`] for what is neither a regular file nor a directory.
    pub fn open(fd: OwnedFd) -> Outcome<Self> {
        let stat = fstat(&fd).step("fstat", b"source")?;
        match SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => Ok(Self::Archive(File::from(fd))),
            SFlag::S_IFDIR => open_layout(fd.as_fd(), stat.st_uid).map(Self::Layout),
            _ => refused("the source is neither a file nor a directory"),
        }
    }
}

impl Source {
    pub(crate) fn read(given: Given) -> Outcome<Self> {
        let files = match given {
            Given::Archive(file) => index(file)?,
            Given::Layout(files) => files.into_iter().map(whole).collect::<Outcome<_>>()?,
        };
        Ok(Self { files })
    }

    /// Files that are not on a disk, for the fuzz targets.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn in_memory(files: &[(String, Vec<u8>)]) -> std::io::Result<Self> {
        use std::io::Write;
        let mut memory =
            File::from(nix::sys::memfd::memfd_create(c"source", nix::sys::memfd::MFdFlags::MFD_CLOEXEC)?);
        for (_, bytes) in files {
            memory.write_all(bytes)?;
        }
        let memory = Arc::new(memory);
        let mut at = 0;
        let place = |(name, bytes): &(String, Vec<u8>)| {
            let (size, from) = (bytes.len() as u64, at);
            at += size;
            (name.clone(), Blob::new(Arc::clone(&memory), from, size))
        };
        Ok(Self { files: files.iter().map(place).collect() })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Blob> {
        self.files.get(name)
    }
}

fn whole((name, file): (String, File)) -> Outcome<(String, Blob)> {
    let size = file.metadata().step("fstat", name.as_bytes())?.len();
    Ok((name, Blob::new(Arc::new(file), 0, size)))
}

fn open_layout(directory: BorrowedFd<'_>, owner: u32) -> Outcome<BTreeMap<String, File>> {
    let mut files = BTreeMap::new();
    let Some(index) = open(directory, "index.json", owner)? else {
        return refused("the directory is no OCI layout: it has no index.json");
    };
    files.insert("index.json".to_owned(), index);
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let blobs = match openat2(directory, "blobs/sha256", how) {
        Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
            return refused("the directory has no blobs/sha256");
        }
        opened => opened.step("openat2", b"blobs/sha256")?,
    };
    let names = super::place::names(blobs.as_fd())?;
    for name in names.iter().filter_map(|name| std::str::from_utf8(name).ok()) {
        if files.len() > limits::BLOBS {
            return refused(format!("the layout has more than {} files", limits::BLOBS));
        }
        if let Some(file) = open(blobs.as_fd(), name, owner)? {
            files.insert(format!("blobs/sha256/{name}"), file);
        }
    }
    Ok(files)
}

/// A regular file of this owner, or none of that name.
fn open(directory: BorrowedFd<'_>, name: &str, owner: u32) -> Outcome<Option<File>> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let how =
        OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = match openat2(directory, name, how) {
        Err(Errno::ENOENT) => return Ok(None),
        Err(Errno::ELOOP | Errno::ENXIO) => return refused(odd(name)),
        opened => File::from(opened.step("openat2", name.as_bytes())?),
    };
    let meta = file.metadata().step("fstat", name.as_bytes())?;
    if !meta.is_file() || meta.uid() != owner {
        return refused(odd(name));
    }
    Ok(Some(file))
}

fn odd(name: &str) -> String {
    format!("{} is no regular file of the directory's owner", quoted(name.as_bytes()))
}

/// Where the members of an archive lie in it.
fn index(file: File) -> Outcome<BTreeMap<String, Blob>> {
    let size = file.metadata().step("fstat", b"source")?.len();
    let file = Arc::new(file);
    let mut head = [0; 8];
    let count = file.read_at(&mut head, 0).step("pread", b"source")?;
    match Form::of(&head[..count]) {
        Form::Tar => {}
        _ => return refused("the archive is compressed; give it as it was before"),
    }
    let mut members = Members::new(Positioned { file: Arc::clone(&file), at: 0, size });
    let mut files = BTreeMap::new();
    let mut count = 0;
    while let Some(member) = members.next()? {
        count += 1;
        if count > limits::BLOBS {
            return refused(format!("the archive has more than {} members", limits::BLOBS));
        }
        let Kind::File = member.kind else { continue };
        let at = members.stream.at;
        if at.checked_add(member.size).is_none_or(|end| end > size) {
            return refused("the archive is cut short");
        }
        let Ok(name) = String::from_utf8(member.name) else { continue };
        let name = name.strip_prefix("./").unwrap_or(&name).to_owned();
        files.insert(name, Blob::new(Arc::clone(&file), at, member.size));
    }
    Ok(files)
}

/// A file that is passed over without being read.
struct Positioned {
    file: Arc<File>,
    at: u64,
    size: u64,
}

impl Stream for Positioned {
    fn read(&mut self, out: &mut [u8]) -> Outcome<usize> {
        let count = self.file.read_at(out, self.at).step("pread", b"source")?;
        self.at += count as u64;
        Ok(count)
    }

    fn skip(&mut self, count: u64) -> Outcome {
        match self.at.checked_add(count) {
            Some(at) if at <= self.size => {
                self.at = at;
                Ok(())
            }
            _ => Err(Failure::Refused("the archive is cut short".to_owned())),
        }
    }
}
