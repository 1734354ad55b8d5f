//! Puts members below a directory. Names come from strangers: no link is ever followed, and what is in the way of a
//! member is removed, never written through.

use super::failure::{Outcome, Step, quoted, refused};
use super::limits;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{FileStat, Mode, SFlag, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
/// Of directories that no member describes.
const UNDESCRIBED: Mode = Mode::from_bits_truncate(0o755);

/// A name below a directory, checked: steps between slashes, none of them `.` or `..`; empty is the directory itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Path(Vec<u8>);

impl Path {
    /// Checks a name of an archive. `./a//b/` is `a/b`; and nothing but slashes is the directory itself, as umoci names it.
    pub(crate) fn parse(name: &[u8]) -> Outcome<Self> {
        let absolute = name.starts_with(b"/") && name.iter().any(|byte| *byte != b'/');
        if absolute || name.is_empty() || name.len() > limits::PATH || name.contains(&0) {
            return refused(format!("a layer has the name {}", quoted(name)));
        }
        let steps: Vec<_> =
            name.split(|byte| *byte == b'/').filter(|step| !matches!(*step, b"" | b".")).collect();
        if steps.len() > limits::DEPTH || steps.iter().any(|step| *step == b".." || step.len() > limits::NAME)
        {
            return refused(format!("a layer has the name {}", quoted(name)));
        }
        Ok(Self(steps.join(&b'/')))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn is_top(&self) -> bool {
        self.0.is_empty()
    }

    /// The directory that it is in, and its last step.
    pub(crate) fn split(&self) -> (Self, &[u8]) {
        match self.0.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (Self(self.0[..slash].to_vec()), &self.0[slash + 1..]),
            None => (Self(Vec::new()), &self.0),
        }
    }

    /// A neighbour: another last step.
    pub(crate) fn beside(&self, name: &[u8]) -> Self {
        self.split().0.below(name)
    }

    /// What has this name in the directory that it is.
    pub(crate) fn below(&self, name: &[u8]) -> Self {
        if self.is_top() { Self(name.to_vec()) } else { Self([self.bytes(), b"/", name].concat()) }
    }
}

/// A directory that members are put below.
#[derive(Debug)]
pub(crate) struct Place {
    root: OwnedFd,
    /// The parent that was used last.
    last: Option<(Path, OwnedFd)>,
}

impl Place {
    pub(crate) fn new(root: OwnedFd) -> Self {
        Self { root, last: None }
    }

    /// Makes a directory, or takes the one that is there.
    pub(crate) fn directory(&mut self, path: &Path) -> Outcome<OwnedFd> {
        if path.is_top() {
            return self.root.try_clone().step("dup", b".");
        }
        let (parent, name) = path.split();
        self.enter(&parent)?;
        let (made, replaced) = make_directory(self.parent(), name)?;
        if replaced {
            self.last = None;
        }
        Ok(made)
    }

    /// Makes an empty file for writing.
    pub(crate) fn file(&mut self, path: &Path) -> Outcome<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        self.make(path, "openat", &|parent, name| openat(parent, name, flags, Mode::S_IRUSR)).map(File::from)
    }

    /// Makes a symbolic link; what it says is nobody's matter here.
    pub(crate) fn symlink(&mut self, path: &Path, target: &[u8]) -> Outcome {
        if target.is_empty() || target.len() >= limits::PATH || target.contains(&0) {
            return refused(format!("a layer has a link to {}", quoted(target)));
        }
        self.make(path, "symlinkat", &|parent, name| symlinkat(target, parent, name))
    }

    /// Gives a file a second name.
    pub(crate) fn link(&mut self, path: &Path, to: &Path) -> Outcome {
        let (directory, file) = to.split();
        let missing = || {
            format!(
                "the layer has {} as a hard link to {}, which it does not have as a file",
                quoted(path.bytes()),
                quoted(to.bytes())
            )
        };
        let Some(directory) = self.find(&directory)? else { return refused(missing()) };
        match look(directory.as_fd(), file)? {
            Some(found) if kind(&found) != SFlag::S_IFDIR => {}
            _ => return refused(missing()),
        }
        if path == to {
            return Ok(());
        }
        match self
            .make(path, "linkat", &|parent, name| linkat(&directory, file, parent, name, AtFlags::empty()))
        {
            Err(super::failure::Failure::System(error)) if error.errno == Errno::EMLINK => {
                refused("the layer has a file with too many hard links")
            }
            // What was in the way was, or held, the file itself.
            Err(super::failure::Failure::System(error)) if error.errno == Errno::ENOENT => refused(missing()),
            made => made,
        }
    }

    /// The directory that a member's last name is in, for what is done by name.
    pub(crate) fn parent_of<'a>(&mut self, path: &'a Path) -> Outcome<(BorrowedFd<'_>, &'a [u8])> {
        let (parent, name) = path.split();
        self.enter(&parent)?;
        Ok((self.parent(), name))
    }

    /// A directory that is there.
    pub(crate) fn find(&self, path: &Path) -> Outcome<Option<OwnedFd>> {
        match open_below(self.root.as_fd(), path) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(None),
            Err(errno) => Err(errno).step("openat2", path.bytes()),
        }
    }

    /// Removes what has this name, with everything below it; a missing one is fine.
    pub(crate) fn remove(&mut self, path: &Path) -> Outcome {
        self.last = None;
        let (parent, name) = path.split();
        match self.find(&parent)? {
            Some(parent) if !path.is_top() => remove(parent.as_fd(), name),
            _ => Ok(()),
        }
    }

    fn make<T>(
        &mut self,
        path: &Path,
        call: &'static str,
        make: &dyn Fn(BorrowedFd<'_>, &[u8]) -> nix::Result<T>,
    ) -> Outcome<T> {
        if path.is_top() {
            return refused("a layer has a file in the place of its root");
        }
        let (parent, name) = path.split();
        self.enter(&parent)?;
        match make(self.parent(), name) {
            Err(Errno::EEXIST) => {
                remove(self.parent(), name)?;
                let made = make(self.parent(), name).step(call, path.bytes());
                self.last = None;
                made
            }
            made => made.step(call, path.bytes()),
        }
    }

    /// Makes `last` this directory.
    fn enter(&mut self, path: &Path) -> Outcome {
        if self.last.as_ref().is_some_and(|(last, _)| last == path) {
            return Ok(());
        }
        let found = match self.find(path)? {
            Some(found) => found,
            None => self.make_all(path)?,
        };
        self.last = Some((path.clone(), found));
        Ok(())
    }

    fn parent(&self) -> BorrowedFd<'_> {
        self.last.as_ref().map_or(self.root.as_fd(), |(_, directory)| directory.as_fd())
    }

    fn make_all(&self, path: &Path) -> Outcome<OwnedFd> {
        let mut at = self.root.try_clone().step("dup", b".")?;
        for step in path.bytes().split(|byte| *byte == b'/') {
            (at, _) = make_directory(at.as_fd(), step)?;
        }
        Ok(at)
    }
}

/// Makes a directory or takes the one that is there, and says whether something else had to go for it.
fn make_directory(parent: BorrowedFd<'_>, name: &[u8]) -> Outcome<(OwnedFd, bool)> {
    let mut replaced = false;
    loop {
        match mkdirat(parent, name, UNDESCRIBED) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno).step("mkdirat", name),
        }
        match openat(parent, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ENOTDIR | Errno::ELOOP) if !replaced => {
                remove(parent, name)?;
                replaced = true;
            }
            opened => return Ok((opened.step("openat", name)?, replaced)),
        }
    }
}

/// Opens a directory below another; every step is one.
pub(crate) fn open_below(root: BorrowedFd<'_>, path: &Path) -> nix::Result<OwnedFd> {
    let name = if path.is_top() { b"." } else { path.bytes() };
    let resolve = ResolveFlag::RESOLVE_BENEATH
        | ResolveFlag::RESOLVE_NO_SYMLINKS
        | ResolveFlag::RESOLVE_NO_MAGICLINKS
        | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(root, name, OpenHow::new().flags(DIRECTORY).resolve(resolve))
}

/// What has this name; a link is one.
pub(crate) fn look(parent: BorrowedFd<'_>, name: &[u8]) -> Outcome<Option<FileStat>> {
    match fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => Ok(None),
        found => found.map(Some).step("fstatat", name),
    }
}

pub(crate) fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// Removes what has this name, with everything below it; a missing one is fine.
pub(crate) fn remove(parent: BorrowedFd<'_>, name: &[u8]) -> Outcome {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(()),
        Err(Errno::EISDIR) => {}
        Err(errno) => return Err(errno).step("unlinkat", name),
    }
    let directory = openat(parent, name, DIRECTORY, Mode::empty()).step("openat", name)?;
    empty(directory.as_fd())?;
    unlinkat(parent, name, UnlinkatFlags::RemoveDir).step("unlinkat", name)
}

/// Removes everything in a directory.
pub(crate) fn empty(directory: BorrowedFd<'_>) -> Outcome {
    names(directory)?.iter().try_for_each(|name| remove(directory, name))
}

/// What a directory holds.
pub(crate) fn names(directory: BorrowedFd<'_>) -> Outcome<Vec<Vec<u8>>> {
    let again = openat(directory, ".", DIRECTORY, Mode::empty()).step("openat", b".")?;
    let mut entries = nix::dir::Dir::from_fd(again).step("fdopendir", b".")?;
    let mut out = Vec::new();
    for entry in entries.iter() {
        let entry = entry.step("getdents", b".")?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            out.push(name.to_vec());
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn place(at: &std::path::Path) -> Place {
        Place::new(nix::fcntl::open(at, DIRECTORY, Mode::empty()).unwrap())
    }

    fn path(name: &str) -> Path {
        Path::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn names_that_lead_out_are_refused() {
        for name in [
            "",
            "/a",
            "//a",
            "/.",
            "/..",
            "..",
            "a/../b",
            "a/..",
            "a\0b",
            &"a/".repeat(200),
            &"a".repeat(256),
        ] {
            assert!(Path::parse(name.as_bytes()).is_err(), "{name:?}");
        }
        assert_eq!(path("./a//b/").bytes(), b"a/b");
        assert!(path("./").is_top() && path("/").is_top() && path("//").is_top());
        assert_eq!(path("a/b").beside(b"c").bytes(), b"a/c");
    }

    #[test]
    fn nothing_is_written_through_a_link() {
        let outside = tempfile::tempdir().unwrap();
        let inside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("kept"), "kept").unwrap();
        symlink(outside.path(), inside.path().join("l")).unwrap();
        symlink(outside.path().join("kept"), inside.path().join("f")).unwrap();
        let mut place = place(inside.path());
        place.file(&path("l/made")).unwrap();
        place.file(&path("f")).unwrap();
        place.link(&path("h"), &path("l/made")).unwrap();
        assert!(
            inside.path().join("l/made").is_file()
                && inside.path().join("f").symlink_metadata().unwrap().is_file()
        );
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
        assert_eq!(fs::read_to_string(outside.path().join("kept")).unwrap(), "kept");
        symlink(outside.path(), inside.path().join("x")).unwrap();
        assert!(place.link(&path("y"), &path("x/kept")).is_err());
        place.remove(&path("x")).unwrap();
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_last_of_a_name_wins() {
        let inside = tempfile::tempdir().unwrap();
        let mut place = place(inside.path());
        place.file(&path("a/b/c")).unwrap();
        place.file(&path("a")).unwrap();
        place.directory(&path("a")).unwrap();
        place.file(&path("a/b/d")).unwrap();
        place.symlink(&path("a/b"), b"..").unwrap();
        place.file(&path("a/b/e")).unwrap();
        let names: Vec<_> = fs::read_dir(inside.path().join("a/b"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["e"]);
        // A link to what it replaces, directly or as a part of it, has nothing left to name.
        assert!(place.link(&path("a"), &path("a/b/e")).is_err());
        for top in [".", "/"] {
            assert!(place.file(&path(top)).is_err());
            assert!(place.symlink(&path(top), b"/etc").is_err());
            assert!(place.link(&path("l"), &path(top)).is_err());
            place.directory(&path(top)).unwrap();
        }
    }
}
