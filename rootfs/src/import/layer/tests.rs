//! Layers against GNU tar: what both unpack must be the same tree.

use super::*;
use crate::import::digest::Digest;
use crate::import::members::Plain;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path as FsPath, PathBuf};
use std::process::Command;
use tar::{Builder, EntryType, Header};
use xattr::FileExt;

/// Nobody has to be told.
struct Unheard;

impl<S> Watch<S> for Unheard {
    fn beat(&mut self, _stream: &S) -> Outcome {
        Ok(())
    }
}

/// Everything that a layer says of one name.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    kind: u32,
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    /// Digest of a file, target of a link.
    content: String,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The first of the names of the same file.
    first: PathBuf,
}

/// A whole tree, by paths below its root.
fn tree(root: &FsPath) -> BTreeMap<PathBuf, Found> {
    let (mut all, mut firsts) = (BTreeMap::new(), BTreeMap::new());
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_owned();
        let (mut content, mut xattrs) = (String::new(), Vec::new());
        if meta.is_symlink() {
            content = fs::read_link(&path).unwrap().to_str().unwrap().to_owned();
        } else {
            let file = File::open(&path).unwrap();
            for key in file.list_xattr().unwrap() {
                xattrs.push((key.as_bytes().to_vec(), file.get_xattr(&key).unwrap().unwrap()));
            }
            xattrs.sort();
            if meta.is_file() {
                content = Digest::of(&fs::read(&path).unwrap()).as_str().to_owned();
            }
        }
        if meta.is_dir() {
            let mut below: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
            below.sort();
            todo.extend(below.into_iter().rev());
        }
        let first = firsts.entry(meta.ino()).or_insert_with(|| name.clone()).clone();
        let found = Found {
            kind: meta.mode() & 0o170_000,
            // Nobody sees the root's own where no member describes it, and a link has none.
            mode: if meta.is_symlink() || name.as_os_str().is_empty() { 0 } else { meta.mode() & 0o7777 },
            owner: (meta.uid(), meta.gid()),
            modified: if name.as_os_str().is_empty() { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) },
            content,
            xattrs,
            first,
        };
        all.insert(name, found);
    }
    all
}

fn by_us(archive: &[u8], at: &FsPath) {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
    let mut place = Place::new(nix::fcntl::open(at, flags, Mode::empty()).unwrap());
    let mut members = Members::new(Plain(archive));
    apply(&mut members, &mut place, &mut Budget::new(None), &mut Unheard).unwrap();
}

fn by_tar(archive: &FsPath, at: &FsPath) {
    let mut command = Command::new("tar");
    command.args(["--extract", "--preserve-permissions", "--same-owner", "--numeric-owner"]);
    command.args(["--delay-directory-restore", "--xattrs", "--xattrs-include=user.*"]);
    let output = command.arg("--file").arg(archive).arg("--directory").arg(at).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn compare(archive: &[u8]) {
    let directory = tempfile::tempdir().unwrap();
    let (file, ours, theirs) =
        (directory.path().join("archive"), directory.path().join("ours"), directory.path().join("theirs"));
    fs::write(&file, archive).unwrap();
    for at in [&ours, &theirs] {
        fs::create_dir(at).unwrap();
    }
    by_us(archive, &ours);
    by_tar(&file, &theirs);
    let (ours, theirs) = (tree(&ours), tree(&theirs));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, found) in &ours {
        assert_eq!(Some(found), theirs.get(name), "{}", name.display());
    }
}

/// One thing of a random tree, or member of a random archive; numbers choose among what is there already.
#[derive(Debug, Clone)]
enum Thing {
    Directory(Common),
    /// Blocks of 4 KiB, some of them holes.
    File(Common, Vec<Option<u8>>),
    Symlink(Common, String),
    Link(Common, usize),
}

impl Thing {
    fn common(&self) -> &Common {
        let (Self::Directory(common)
        | Self::File(common, _)
        | Self::Symlink(common, _)
        | Self::Link(common, _)) = self;
        common
    }
}

#[derive(Debug, Clone)]
struct Common {
    /// Which of the directories so far it is in, and its name there.
    parent: usize,
    name: String,
    mode: u32,
    owner: (u32, u32),
    modified: u32,
    xattr: Option<Vec<u8>>,
}

fn common() -> impl Strategy<Value = Common> {
    // Few names, so that some come twice; long ones need an extension of each format.
    let name = prop_oneof![
        4 => "[a-d]",
        1 => "[a-z ]{90,120}",
        1 => "\u{e9}\u{fc}[a-z.,'=\n]{1,8}x",
    ];
    let xattr = proptest::option::weighted(0.3, proptest::collection::vec(any::<u8>(), 0..40));
    // As root of the tests may, every directory stays open for both.
    (any::<usize>(), name, 0u32..0o1000, (0u32..3000, 0u32..65_536), any::<u32>(), xattr).prop_map(
        |(parent, name, mode, owner, modified, xattr)| Common { parent, name, mode, owner, modified, xattr },
    )
}

fn things() -> impl Strategy<Value = Vec<Thing>> {
    let content = proptest::collection::vec(proptest::option::of(any::<u8>()), 0..6);
    let thing = prop_oneof![
        common().prop_map(Thing::Directory),
        (common(), content).prop_map(|(common, blocks)| Thing::File(common, blocks)),
        // One that leads up or to the root tar makes at the end, whatever came in its place meanwhile.
        (common(), "[a-z ]{1,120}").prop_map(|(common, target)| Thing::Symlink(common, target)),
        (common(), any::<usize>()).prop_map(|(common, to)| Thing::Link(common, to)),
    ];
    proptest::collection::vec(thing, 1..24)
}

const BLOCK_OF_FILE: usize = 4096;

fn bytes(blocks: &[Option<u8>]) -> Vec<u8> {
    // The last is shorter, and a hole at the end counts.
    let all: Vec<u8> = blocks.iter().flat_map(|block| [block.unwrap_or(0); BLOCK_OF_FILE]).collect();
    all[..all.len().saturating_sub(100)].to_vec()
}

/// A random tree on the disk.
fn plant(root: &FsPath, things: &[Thing]) {
    let (mut directories, mut files) = (vec![root.to_owned()], Vec::new());
    let mut described = Vec::new();
    for thing in things {
        let common = thing.common();
        let path = directories[common.parent % directories.len()].join(&common.name);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match thing {
            Thing::Directory(_) => {
                fs::create_dir(&path).unwrap();
                directories.push(path.clone());
            }
            Thing::File(_, blocks) => {
                let file = File::create(&path).unwrap();
                use std::os::unix::fs::FileExt;
                let content = bytes(blocks);
                for (block, at) in blocks.iter().zip((0..).step_by(BLOCK_OF_FILE)) {
                    let end = content.len().min(at + BLOCK_OF_FILE);
                    if block.is_some() && at < end {
                        file.write_all_at(&content[at..end], at as u64).unwrap();
                    }
                }
                file.set_len(content.len() as u64).unwrap();
                files.push(path.clone());
            }
            Thing::Symlink(_, target) => symlink(target, &path).unwrap(),
            Thing::Link(_, to) => {
                if !files.is_empty() {
                    fs::hard_link(&files[to % files.len()], &path).unwrap();
                }
                continue;
            }
        }
        described.push((path, common));
    }
    // From below upwards, since a change below changes the times above.
    for (path, common) in described.iter().rev() {
        let (uid, gid) = common.owner;
        std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
        if path.is_symlink() {
            continue;
        }
        chown(path, Some(uid), Some(gid)).unwrap();
        if let Some(value) = &common.xattr {
            xattr::set(path, "user.note", value).unwrap();
        }
        fs::set_permissions(path, fs::Permissions::from_mode(common.mode)).unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(common.modified.into(), 123_456_789);
        File::open(path).unwrap().set_modified(time).unwrap();
    }
}

/// An archive of the same, in which names come again and directories come late or not at all.
fn archive(things: &[Thing]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    let (mut directories, mut others) = (vec![PathBuf::new()], BTreeMap::new());
    for thing in things {
        let common = thing.common();
        let path = directories[common.parent % directories.len()].join(&common.name);
        // What becomes of a directory in the place of a file, or under one, is a matter of taste.
        let is_directory = matches!(thing, Thing::Directory(_));
        let known = if is_directory { others.contains_key(&path) } else { directories.contains(&path) };
        if known {
            continue;
        }
        let mut header = Header::new_gnu();
        header.set_mode(common.mode);
        header.set_uid(common.owner.0.into());
        header.set_gid(common.owner.1.into());
        header.set_mtime(common.modified.into());
        header.set_size(0);
        if let (Some(value), Thing::File(..) | Thing::Directory(_)) = (&common.xattr, thing) {
            builder.append_pax_extensions([("SCHILY.xattr.user.note", &value[..])]).unwrap();
        }
        match thing {
            Thing::Directory(_) => {
                header.set_entry_type(EntryType::Directory);
                builder.append_data(&mut header, &path, &[][..]).unwrap();
                directories.push(path);
                continue;
            }
            Thing::File(_, blocks) => {
                let content = bytes(blocks);
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, &path, &content[..]).unwrap();
                others.insert(path, true);
            }
            Thing::Symlink(_, target) => {
                header.set_entry_type(EntryType::Symlink);
                builder.append_link(&mut header, &path, target).unwrap();
                others.insert(path, false);
            }
            Thing::Link(_, to) => {
                let files: Vec<_> =
                    others.iter().filter(|(_, is_file)| **is_file).map(|(path, _)| path).collect();
                if let Some(target) = files.get(to % files.len().max(1)).filter(|target| ***target != path) {
                    header.set_entry_type(EntryType::Link);
                    builder.append_link(&mut header, &path, target).unwrap();
                    others.insert(path, true);
                }
            }
        }
    }
    builder.into_inner().unwrap()
}

fn cases() -> u32 {
    if std::env::var("BULKHEAD_TEST_LONG").is_ok_and(|long| long == "1") { 1000 } else { 32 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_tar_packs_is_what_it_was(things in things(), format in 0usize..3) {
        let directory = tempfile::tempdir().unwrap();
        plant(directory.path(), &things);
        let formats: [&[&str]; 3] = [
            &["--format=gnu", "--sparse"],
            &["--format=oldgnu"],
            &["--format=posix", "--xattrs", "--xattrs-include=user.*"],
        ];
        let output = Command::new("tar")
            .args(["--create", "--file", "-", "--numeric-owner"])
            .args(formats[format])
            .arg("--directory")
            .arg(directory.path())
            .arg(".")
            .output()
            .unwrap();
        prop_assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        compare(&output.stdout);
    }

    #[test]
    fn what_comes_twice_is_what_came_last(things in things()) {
        compare(&archive(&things));
    }
}
