//! Archives that a stranger made to harm: random ones, all of whose names, links, types and sizes are chosen for it.
//! Whatever they hold, nothing outside of the directory changes or becomes readable in it, the bounds hold, and the
//! answer is one of few.

mod tar;
mod zip;

use super::super::failure::{Outcome, Stop};
use super::super::path::{AbsolutePath, Root};
use super::target::Target;
use bulkhead_protocol::files::FileFailure;
use proptest::prelude::{Strategy, any};
use proptest::sample::select;
use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Bytes of content that may come out.
const MOST: u64 = 4096;
/// What must never be inside.
const SECRET: &str = "the neighbour's secret";

/// A directory with a neighbour, and links to it that were there before.
struct Field(TempDir);

impl Field {
    fn new() -> Self {
        let field = tempfile::tempdir().unwrap();
        let at = field.path();
        std::fs::create_dir_all(at.join("out/dir")).unwrap();
        std::fs::create_dir_all(at.join("in/old")).unwrap();
        std::fs::write(at.join("out/secret"), SECRET).unwrap();
        std::fs::write(at.join("in/old/file"), "old").unwrap();
        symlink("../out", at.join("in/planted")).unwrap();
        symlink(at.join("out/secret"), at.join("in/old/planted")).unwrap();
        Self(field)
    }

    fn target(&self) -> Target {
        let inside = AbsolutePath::new(b"/in".to_vec()).unwrap();
        Target::make(&Root::at(self.0.path()), &inside, MOST, FileFailure::Bounds).unwrap()
    }

    /// All that is told of everything outside: content, bits, names, times.
    fn outside(&self) -> BTreeMap<PathBuf, (Vec<u8>, u32, u64, i64, i64)> {
        let mut found = BTreeMap::new();
        each(&self.0.path().join("out"), &mut |path| {
            let stat = path.symlink_metadata().unwrap();
            let content = if stat.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
            let told = (content, stat.mode(), stat.nlink(), stat.mtime(), stat.mtime_nsec());
            found.insert(path.to_owned(), told);
        });
        found
    }

    /// Unpacks, and looks at what became of everything.
    fn unpack(&self, unpack: impl FnOnce(&mut Target) -> Outcome) -> Outcome {
        let before = self.outside();
        let mut target = self.target();
        let outcome = unpack(&mut target);
        assert_eq!(self.outside(), before, "outside");
        let top: Vec<_> =
            std::fs::read_dir(self.0.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
        assert_eq!(top.len(), 2, "beside: {top:?}");
        let mut bytes = 0;
        each(&self.0.path().join("in"), &mut |path| {
            let stat = path.symlink_metadata().unwrap();
            assert!(stat.is_dir() || stat.is_file() || stat.is_symlink(), "{}", path.display());
            assert_eq!(stat.mode() & 0o7000, 0, "{}", path.display());
            if stat.is_file() {
                let content = std::fs::read(path).unwrap();
                assert!(!String::from_utf8_lossy(&content).contains(SECRET), "{}", path.display());
                bytes += if stat.nlink() == 1 { stat.len() } else { 0 };
            }
        });
        assert!(bytes <= MOST + 3, "{bytes} bytes inside");
        if let Err(stop) = outcome {
            let typed = [
                FileFailure::Hostile,
                FileFailure::BadArchive,
                FileFailure::Bounds,
                FileFailure::Exists,
                FileFailure::IsDirectory,
            ];
            assert!(typed.iter().any(|failure| stop == Stop::Failed(*failure)), "{stop:?}");
        }
        outcome
    }
}

fn each(path: &Path, visit: &mut dyn FnMut(&Path)) {
    visit(path);
    if path.symlink_metadata().unwrap().is_dir() {
        std::fs::read_dir(path).unwrap().for_each(|entry| each(&entry.unwrap().path(), visit));
    }
}

/// A name or the target of a link: a few steps, of which many meet, climb, or go through what is planted.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let steps =
        ["a", "b", "link", "planted", "old", "file", "secret", "out", "in", "..", ".", "", "\\", "..\\x"];
    let long = select(vec![255_usize, 256, 5000]).prop_map(|length| "n".repeat(length));
    let step = proptest::prop_oneof![
        40 => select(steps.to_vec()).prop_map(str::to_owned),
        1 => long,
        1 => any::<[u8; 2]>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ];
    let start = select(vec!["", "", "", "", "", "/", "../", "./", "../out/", "planted/"]);
    (start, proptest::collection::vec(step, 1..4))
        .prop_map(|(start, steps)| (start.to_owned() + &steps.join("/")).into_bytes())
}
