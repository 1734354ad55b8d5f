//! Paths, and the one place that resolves them: beneath a root directory, through no magic link.

use super::failure::{Outcome, Stop, failed};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::files::{FileFailure, MAX_PATH, PathText};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, mkdirat};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;

/// Links in a row that a last name may be (as the kernel's own bound).
const MAX_LINKS: usize = 40;
/// Tries of a lookup with `..` in it while others rename; then it is the machine that is too busy.
const LOOKUP_TRIES: usize = 128;
/// Bits of a new directory, before the mask.
const DIRECTORY_MODE: Mode = Mode::from_bits_truncate(0o777);

/// A path from the root, without NUL and without a slash at its end; `/` alone is the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AbsolutePath(Vec<u8>);

impl AbsolutePath {
    /// Reads the wire's form.
    ///
    /// # Errors
    /// [`FileFailure::BadPath`].
    pub(crate) fn parse(text: &PathText) -> Outcome<Self> {
        Self::new(decode(text)?)
    }

    /// Checks these bytes.
    ///
    /// # Errors
    /// [`FileFailure::BadPath`].
    pub(crate) fn new(mut bytes: Vec<u8>) -> Outcome<Self> {
        if bytes.first() != Some(&b'/') || bytes.len() >= MAX_PATH || bytes.contains(&0) {
            return failed(FileFailure::BadPath);
        }
        while bytes.len() > 1 && bytes.last() == Some(&b'/') {
            bytes.pop();
        }
        Ok(Self(bytes))
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// An entry of it.
    pub(crate) fn join(&self, name: &[u8]) -> Vec<u8> {
        let mut path = self.0.clone();
        if path.len() > 1 {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        path
    }

    /// What it lies in, and its own name there.
    ///
    /// # Errors
    /// [`FileFailure::Impossible`] for `/`, and for `.` and `..`, which are no names.
    pub(crate) fn split(&self) -> Outcome<(Self, CString)> {
        let at = self.0.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let name = &self.0[at + 1..];
        if matches!(name, b"" | b"." | b"..") {
            return failed(FileFailure::Impossible);
        }
        let parent = Self::new(self.0[..at.max(1)].to_vec())?;
        Ok((parent, CString::new(name).map_err(|_| FileFailure::BadPath)?))
    }
}

/// The bytes of the wire's form.
///
/// # Errors
/// [`FileFailure::BadPath`].
pub(crate) fn decode(text: &PathText) -> Outcome<Vec<u8>> {
    Ok(STANDARD.decode(&text.0).map_err(|_| FileFailure::BadPath)?)
}

/// The wire's form of a path or name.
pub(crate) fn text(bytes: &[u8]) -> PathText {
    PathText(STANDARD.encode(bytes))
}

/// A name in an open directory.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory.
    pub(crate) directory: OwnedFd,
    /// Its path, for messages.
    pub(crate) parent: AbsolutePath,
    /// One name: no slash, neither `.` nor `..`.
    pub(crate) name: CString,
}

/// The directory beneath which everything is.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// The process's own root.
    ///
    /// # Errors
    /// As openat2(2).
    pub(crate) fn open_here() -> Result<Self, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        openat2(AT_FDCWD, "/", OpenHow::new().flags(flags)).map(Self)
    }

    #[cfg(test)]
    pub(crate) fn at(directory: &std::path::Path) -> Self {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Self(openat2(AT_FDCWD, directory, OpenHow::new().flags(flags)).unwrap())
    }

    /// The directory itself.
    pub(crate) fn directory(&self) -> &OwnedFd {
        &self.0
    }

    /// Opens a path, close-on-exec.
    ///
    /// # Errors
    /// As openat2(2).
    pub(crate) fn open(&self, path: &AbsolutePath, flags: OFlag, mode: Mode) -> Result<OwnedFd, Errno> {
        // What means nothing for a place is refused there (openat2(2)).
        let quiet = if flags.contains(OFlag::O_PATH) { OFlag::empty() } else { OFlag::O_NOCTTY };
        let how = OpenHow::new()
            .flags(flags | quiet | OFlag::O_CLOEXEC)
            .mode(mode)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let mut opened = Err(Errno::EAGAIN);
        for _ in 0..LOOKUP_TRIES {
            opened = openat2(&self.0, path.bytes(), how);
            if !matches!(opened, Err(Errno::EAGAIN)) {
                break;
            }
        }
        opened
    }

    /// Opens what a path leads to, as a place only.
    ///
    /// # Errors
    /// As openat2(2).
    pub(crate) fn find(&self, path: &AbsolutePath) -> Result<OwnedFd, Errno> {
        self.open(path, OFlag::O_PATH, Mode::empty())
    }

    /// Opens a directory for a look at its entries.
    ///
    /// # Errors
    /// As openat2(2).
    pub(crate) fn open_directory(&self, path: &AbsolutePath) -> Result<OwnedFd, Errno> {
        self.open(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty())
    }

    /// Where a path's last name stands, not followed.
    ///
    /// # Errors
    /// As openat2(2) and [`AbsolutePath::split`].
    pub(crate) fn place(&self, path: &AbsolutePath) -> Outcome<Place> {
        let (parent, name) = path.split()?;
        let directory = self.open(&parent, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?;
        Ok(Place { directory, parent, name })
    }

    /// The same, with parents made where they are missing.
    ///
    /// # Errors
    /// As [`Self::place`] and [`Self::make`].
    pub(crate) fn make_place(&self, path: &AbsolutePath) -> Outcome<Place> {
        let (parent, name) = path.split()?;
        let directory = self.make(&parent)?;
        Ok(Place { directory, parent, name })
    }

    /// Where the file stands that a path leads to: a last name that is a link is followed.
    ///
    /// # Errors
    /// As [`Self::make_place`], `ELOOP` for links in a circle.
    pub(crate) fn make_place_behind_links(&self, path: &AbsolutePath) -> Outcome<Place> {
        let mut place = self.make_place(path)?;
        for _ in 0..MAX_LINKS {
            match readlinkat(&place.directory, place.name.as_c_str()) {
                Ok(target) => {
                    let target = target.into_vec();
                    let path = if target.starts_with(b"/") { target } else { place.parent.join(&target) };
                    place = self.make_place(&AbsolutePath::new(path)?)?;
                }
                Err(Errno::EINVAL | Errno::ENOENT) => return Ok(place),
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Errno::ELOOP.into())
    }

    /// Opens a directory that is made, with its parents, where it is missing.
    ///
    /// # Errors
    /// As openat2(2) and mkdirat(2); [`FileFailure::Exists`] for a link that leads nowhere.
    pub(crate) fn make(&self, path: &AbsolutePath) -> Outcome<OwnedFd> {
        let open = |bytes: &[u8]| -> Outcome<Result<OwnedFd, Errno>> {
            let path = AbsolutePath::new(bytes.to_vec())?;
            Ok(self.open(&path, OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty()))
        };
        match open(path.bytes())? {
            Err(Errno::ENOENT) => {}
            opened => return opened.map_err(Stop::from),
        }
        let mut directory = open(b"/")??;
        let mut at = 0;
        for name in path.bytes().split(|byte| *byte == b'/') {
            at += name.len() + 1;
            if name.is_empty() {
                continue;
            }
            let beginning = &path.bytes()[..at - 1];
            directory = match open(beginning)? {
                Err(Errno::ENOENT) => {
                    match mkdirat(&directory, name, DIRECTORY_MODE) {
                        Ok(()) | Err(Errno::EEXIST) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                    // A link that leads nowhere is there, and yet cannot be opened.
                    open(beginning)?.map_err(|errno| match errno {
                        Errno::ENOENT => Stop::from(FileFailure::Exists),
                        errno => errno.into(),
                    })?
                }
                opened => opened?,
            };
        }
        Ok(directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn path(text: &str) -> AbsolutePath {
        AbsolutePath::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for bad in [b"".as_slice(), b"a", b"/a\0", &[b'/'; MAX_PATH]] {
            assert_eq!(AbsolutePath::new(bad.to_vec()), failed(FileFailure::BadPath), "{bad:?}");
        }
        for bad in ["/", "//", "/a/..", "/a/."] {
            assert_eq!(path(bad).split().err(), Some(Stop::Failed(FileFailure::Impossible)), "{bad}");
        }
        assert_eq!(path("/a//b/").split().unwrap(), (path("/a"), c"b".to_owned()));
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(outside.path().join("in")).unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        symlink(outside.path().join("secret"), outside.path().join("in/absolute")).unwrap();
        symlink("../secret", outside.path().join("in/relative")).unwrap();
        let root = Root::at(&outside.path().join("in"));
        for out in ["/absolute", "/relative", "/../secret"] {
            assert_eq!(root.find(&path(out)).err(), Some(Errno::ENOENT), "{out}");
        }
    }

    #[test]
    fn directories_are_made_with_their_parents() {
        let inside = tempfile::tempdir().unwrap();
        let root = Root::at(inside.path());
        drop(root.make(&path("/a/b/../c")).unwrap());
        assert!(inside.path().join("a/c").is_dir() && inside.path().join("a/b").is_dir());
        symlink("nowhere", inside.path().join("link")).unwrap();
        assert_eq!(root.make(&path("/link/x")).err(), Some(Stop::Failed(FileFailure::Exists)));
        std::fs::write(inside.path().join("file"), "").unwrap();
        assert_eq!(root.make(&path("/file/x")).err(), Some(Stop::Failed(FileFailure::NotDirectory)));
    }
}
