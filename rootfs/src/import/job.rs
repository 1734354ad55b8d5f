//! The directory of an import, and the small files in it.

use super::digest::Digest;
use super::failure::{Failure, Outcome, Step, Told};
use super::limits;
use super::place::{Path, open_below};
use crate::images::record::Record;
use crate::images::sharing::place;
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, mkdirat};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What an image turned out to be; written when all of its layers are unpacked.
const IMAGE: &str = "image.json";
/// Why there is none.
const FAILURE: &str = "failure.json";
/// Unpacked layers that the store lacked, by their digests.
pub(crate) const LAYERS: &str = "layers";
/// The finished root.
pub(crate) const TREE: &str = "tree";
/// In the directory of a layer: its files, what it takes away, and how many bytes it has.
pub(crate) const ROOT: &str = "root";
pub(crate) const CHANGES: &str = "changes";
pub(crate) const BYTES: &str = "bytes";
/// Longest small file but for the list of changes, in bytes.
const MAX_SMALL: u64 = 1 << 20;

/// The directory of one import. Everything in it may have been written by who was taken over: no link is followed, and
/// what is read has a bound.
#[derive(Debug)]
pub struct Job {
    directory: OwnedFd,
    /// Bytes that others were promised of its disk.
    promised: u64,
    /// Bytes that the image may have, where its owner has a ceiling.
    most: Option<u64>,
    /// Who alone shall have it.
    owner: Option<String>,
}

/// The layers of the store.
#[derive(Debug)]
pub struct Layers {
    directory: OwnedFd,
    owner: Option<String>,
}

impl Job {
    /// Takes an open directory.
    #[must_use]
    pub fn new(directory: OwnedFd) -> Self {
        Self { directory, promised: 0, most: None, owner: None }
    }

    /// The same, which leaves so many bytes of its disk to others.
    #[must_use]
    pub fn leaving(self, promised: u64) -> Self {
        Self { promised, ..self }
    }

    /// The same, whose image may have so many bytes.
    #[must_use]
    pub fn at_most(self, most: Option<u64>) -> Self {
        Self { most, ..self }
    }

    /// The same, whose image is one organisation's alone, or everybody's.
    #[must_use]
    pub fn owned_by(self, owner: Option<String>) -> Self {
        Self { owner, ..self }
    }

    /// Bytes that the image may have, where its owner has a ceiling.
    pub(crate) fn most(&self) -> Option<u64> {
        self.most
    }

    /// Bytes that it leaves on its disk.
    pub(crate) fn room_kept(&self) -> u64 {
        self.promised.saturating_add(limits::ROOM_KEPT)
    }

    /// Says why there is no image, for who started this import.
    ///
    /// # Errors
    /// As write(2).
    pub fn fail(&self, failure: &Failure) -> Outcome {
        self.write_json(FAILURE, &failure.told())
    }

    /// What was said so; nothing where no process came to say anything.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.read_json::<Told>(FAILURE).ok().map(Failure::from)
    }

    pub(crate) fn directory(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }

    pub(crate) fn write_image(&self, record: &Record) -> Outcome {
        self.write_json(IMAGE, record)
    }

    /// What it turned out to be. Whose it is was not for the reader of the source to say.
    pub(crate) fn image(&self) -> Outcome<Record> {
        let told: Record = self.read_json(IMAGE)?;
        let id = match &self.owner {
            None => told.id.unowned(),
            Some(owner) => told.id.owned_by(owner).map_err(|error| Failure::Other(error.to_string()))?,
        };
        Ok(Record { id, ..told })
    }

    fn write_json<T: serde::Serialize>(&self, name: &str, value: &T) -> Outcome {
        let text = serde_json::to_vec(value).map_err(|error| Failure::Other(error.to_string()))?;
        write(self.directory(), name, &text)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Outcome<T> {
        let text = read(self.directory(), name, MAX_SMALL)?;
        serde_json::from_slice(&text).map_err(|error| Failure::Other(format!("{name}: {error}")))
    }
}

impl Layers {
    /// Takes an open directory, of which those of `owner` alone are seen, or those of everybody.
    #[must_use]
    pub fn new(directory: OwnedFd, owner: Option<String>) -> Self {
        Self { directory, owner }
    }

    pub(crate) fn find(&self, digest: &Digest) -> Outcome<Option<OwnedFd>> {
        directory(self.directory.as_fd(), &place(digest.as_str(), self.owner.as_deref()))
    }
}

/// How many bytes an unpacked layer has.
pub(crate) fn bytes_of(layer: BorrowedFd<'_>) -> Outcome<u64> {
    let text = read(layer, BYTES, MAX_SMALL)?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Failure::Other("a layer of the store does not say its size".to_owned()))
}

/// A directory in another, if it is there.
pub(crate) fn directory(parent: BorrowedFd<'_>, name: &str) -> Outcome<Option<OwnedFd>> {
    match open_below(parent, &Path::parse(name.as_bytes())?) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(errno) => Err(errno).step("openat2", name.as_bytes()),
    }
}

/// Makes a directory, or takes the one that is there.
pub(crate) fn make_directory(parent: BorrowedFd<'_>, name: &str, mode: u32) -> Outcome<OwnedFd> {
    match mkdirat(parent, name, Mode::from_bits_truncate(mode)) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(errno).step("mkdirat", name.as_bytes()),
    }
    match directory(parent, name)? {
        Some(made) => Ok(made),
        None => Err(Errno::ENOENT).step("openat2", name.as_bytes()),
    }
}

pub(crate) fn write(parent: BorrowedFd<'_>, name: &str, bytes: &[u8]) -> Outcome {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let made = nix::fcntl::openat(parent, name, flags, Mode::from_bits_truncate(0o600));
    let mut file = File::from(made.step("openat", name.as_bytes())?);
    file.write_all(bytes).step("write", name.as_bytes())
}

pub(crate) fn read(parent: BorrowedFd<'_>, name: &str, most: u64) -> Outcome<Vec<u8>> {
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = File::from(openat2(parent, name, how).step("openat2", name.as_bytes())?);
    if !file.metadata().step("fstat", name.as_bytes())?.is_file() {
        return Err(Failure::Other(format!("{name} is no file")));
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).step("read", name.as_bytes())?;
    if bytes.len() as u64 > most {
        return Err(Failure::Other(format!("{name} is too long")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_protocol::image::{ImageDefaults, ImageId};

    fn job(directory: &tempfile::TempDir) -> Job {
        Job::new(std::fs::File::open(directory.path()).unwrap().into())
    }

    /// Who reads a stranger's bytes may have been taken over by them.
    #[test]
    fn whose_an_image_is_the_order_says_and_not_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let id = ImageId::parse(Digest::of(b"an image").as_str()).unwrap();
        let told = Record {
            id: id.owned_by("another").unwrap(),
            diff_ids: vec![Digest::of(b"a layer").as_str().to_owned()],
            defaults: ImageDefaults::default(),
            bytes: 1,
        };
        job(&directory).write_image(&told).unwrap();
        assert_eq!(job(&directory).image().unwrap().id, id);
        let own = job(&directory).owned_by(Some("acme".into())).image().unwrap();
        assert_eq!(own.id, id.owned_by("acme").unwrap());
        assert_ne!((own.tree(), own.layers().next()), (told.tree(), told.layers().next()));
        assert!(job(&directory).owned_by(Some("../acme".into())).image().is_err());
    }
}
