//! What a layer takes away from those below it, as data beside its files: names that it removes, and directories of
//! which it hides what was in them before.

use super::failure::{Outcome, refused};
use super::limits;
use super::place::Path;

const REMOVED: &[u8] = b".wh.";
/// Names that only storage drivers give; they mean nothing but for the one below.
const RESERVED: &[u8] = b".wh..wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// One thing that a layer takes away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Remove(Path),
    Empty(Path),
}

/// What the name of a member means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    Plain,
    Change(Change),
    Nothing,
}

impl Meaning {
    pub(crate) fn of(path: &Path) -> Outcome<Self> {
        let (parent, name) = path.split();
        if name == OPAQUE {
            return Ok(Self::Change(Change::Empty(parent)));
        }
        if name.starts_with(RESERVED) {
            return Ok(Self::Nothing);
        }
        match name.strip_prefix(REMOVED) {
            None => Ok(Self::Plain),
            Some(b"" | b"." | b"..") => refused("a layer removes a name that is none"),
            Some(hidden) => Ok(Self::Change(Change::Remove(path.beside(hidden)))),
        }
    }
}

/// All changes of a layer.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) all: Vec<Change>,
    bytes: usize,
}

impl Changes {
    pub(crate) fn add(&mut self, change: Change) -> Outcome {
        let (Change::Remove(path) | Change::Empty(path)) = &change;
        self.bytes += path.bytes().len() + size_of::<Change>();
        if self.bytes > limits::KEPT_PATHS {
            return refused("a layer removes too much");
        }
        self.all.push(change);
        Ok(())
    }

    /// `-path` or `=path`, each with a NUL behind it: paths are bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let line = |change: &Change| match change {
            Change::Remove(path) => [b"-", path.bytes(), b"\0"].concat(),
            Change::Empty(path) => [b"=", path.bytes(), b"\0"].concat(),
        };
        self.all.iter().flat_map(line).collect()
    }

    pub(crate) fn parse(bytes: &[u8]) -> Outcome<Self> {
        let mut all = Self::default();
        for line in bytes.split(|byte| *byte == 0).filter(|line| !line.is_empty()) {
            let path = match &line[1..] {
                b"" => Path::parse(b".")?,
                name => Path::parse(name)?,
            };
            all.add(match line[0] {
                b'-' => Change::Remove(path),
                b'=' => Change::Empty(path),
                _ => return refused("a layer of the store has a list of changes that is none"),
            })?;
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> Path {
        Path::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn names_mean_what_the_format_says() {
        let of = |name| Meaning::of(&path(name)).unwrap();
        assert_eq!(of("a/.wh.b"), Meaning::Change(Change::Remove(path("a/b"))));
        assert_eq!(of("a/.wh..wh..opq"), Meaning::Change(Change::Empty(path("a"))));
        assert_eq!(of(".wh..wh..opq"), Meaning::Change(Change::Empty(path("."))));
        assert_eq!(of("a/.wh..wh.plnk"), Meaning::Nothing);
        assert_eq!(of("a/wh.b"), Meaning::Plain);
        for name in ["a/.wh.", "a/.wh..", "a/.wh..."] {
            assert!(Meaning::of(&path(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut changes = Changes::default();
        for change in [Change::Remove(path("a/=b\n")), Change::Empty(path("."))] {
            changes.add(change).unwrap();
        }
        assert_eq!(Changes::parse(&changes.to_bytes()).unwrap().all, changes.all);
        assert!(Changes::parse(b"-../x\0").is_err());
        assert!(Changes::parse(b"x\0").is_err());
    }
}
