//! File operations, each by a worker of its own.

use crate::agent::Agent;
use crate::conversation::wire;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::agent::StartFailureKind;
use bulkhead_protocol::files::{FileFailure, FileHead, FileOperation as Op, MAX_FILE_WORKERS, PathText};
use bulkhead_protocol::frame::FrameType;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

#[test]
fn what_goes_up_comes_down() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let path = home.path().join("new/\"q\"\n\u{1f980}");
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let up = agent.upload(&path, &content, u64::MAX);
    let count = u64::try_from(content.len()).unwrap();
    assert_eq!(up.done.unwrap().bytes, Some(count));
    let status = std::fs::metadata(&path).unwrap();
    assert_eq!((status.mode() & 0o7777, status.len()), (0o640, count));
    let down = agent.file(Op::Download { path: wire(&path), range: None });
    assert!(matches!(down.head, FileHead::Begun { size: Some(size), modified_us: Some(_) } if size == count));
    assert!(down.content == content);
    for (first, last) in [(0, Some(0)), (70_000, Some(300_000)), (count - 5, None), (5, Some(u64::MAX))] {
        let down = agent.file(Op::Download { path: wire(&path), range: Some((first, last)) });
        let end = last.unwrap_or(u64::MAX).min(count - 1);
        let (first, end) = (usize::try_from(first).unwrap(), usize::try_from(end).unwrap());
        assert!(down.content == content[first..=end], "{first} {end}");
    }
    let beyond = agent.file(Op::Download { path: wire(&path), range: Some((count, None)) });
    assert_eq!(beyond.failure(), Some(FileFailure::Range));
    agent.wait_until_empty();
}

#[test]
fn an_upload_is_there_whole_or_not_at_all() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let path = home.path().join("file");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(agent.upload(&path, &[7; 200_001], 200_000).failure(), Some(FileFailure::TooLarge));
    let mut broken = agent.begin(None, Op::Upload { path: wire(&path), mode: 0o644, limit: u64::MAX });
    broken.give(&[7; 100_000]);
    drop(broken);
    agent.wait_until_empty();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1, "nothing else is left");
    assert_eq!(agent.upload(&path, b"new", 3).failure(), None);
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600, "the mode that it had");
}

#[test]
fn trees_are_made_copied_moved_listed_and_deleted() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let at = |name: &str| wire(&home.path().join(name));
    let there = |name: &str| home.path().join(name).symlink_metadata().is_ok();
    assert_eq!(agent.file(Op::MakeDirectory { path: at("a/b") }).failure(), None);
    assert_eq!(agent.file(Op::MakeDirectory { path: at("a/b") }).failure(), None, "it may exist");
    assert_eq!(agent.file(Op::Touch { path: at("a/b/f") }).failure(), None);
    assert_eq!(agent.file(Op::Chmod { path: at("a/b/f"), mode: 0o4751 }).failure(), None);
    std::os::unix::fs::symlink("f", home.path().join("a/b/l")).unwrap();
    assert_eq!(agent.file(Op::Copy { from: at("a"), to: at("c/d") }).failure(), None);
    assert!(there("c/d/b/f") && std::fs::read_link(home.path().join("c/d/b/l")).unwrap() == Path::new("f"));
    assert_eq!(std::fs::metadata(home.path().join("c/d/b/f")).unwrap().mode() & 0o7777, 0o751);
    let circle = agent.file(Op::Copy { from: at("a"), to: at("a/b/new") });
    assert_eq!(circle.failure(), Some(FileFailure::Impossible));
    assert_eq!(agent.file(Op::Move { from: at("a"), to: at("c") }).failure(), None, "into it");
    assert!(there("c/a/b/f") && !there("a"));
    let list = agent.file(Op::List { path: at("c"), depth: 2 });
    let mut paths: Vec<_> = list.entries().into_iter().map(|entry| entry.path).collect();
    let mut expected = ["c/a", "c/a/b", "c/d", "c/d/b"].map(at);
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
    let stat = agent.file(Op::Stat { path: at("c/a/b/l") }).done.unwrap().stat.unwrap();
    assert_eq!(stat.target, Some(PathText(STANDARD.encode("f"))));
    assert_eq!(agent.file(Op::Delete { path: at("c") }).failure(), None);
    assert_eq!(agent.file(Op::Delete { path: at("c") }).failure(), None, "what is missing is fine");
    assert!(!there("c"));
    let root = agent.file(Op::Delete { path: PathText(STANDARD.encode("/")) });
    assert_eq!(root.failure(), Some(FileFailure::Impossible));
    agent.wait_until_empty();
}

#[test]
fn a_move_between_file_systems_is_a_copy_and_a_delete() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (from, to) = (home.path().join("tree"), memory.path().join("tree"));
    assert_ne!(home.path().metadata().unwrap().dev(), memory.path().metadata().unwrap().dev());
    std::fs::create_dir(&from).unwrap();
    std::fs::write(from.join("file"), "content").unwrap();
    std::os::unix::fs::chown(from.join("file"), Some(7), Some(8)).unwrap();
    assert_eq!(agent.file(Op::Move { from: wire(&from), to: wire(&to) }).failure(), None);
    assert!(!from.exists());
    assert_eq!(std::fs::read(to.join("file")).unwrap(), b"content");
    assert_eq!(to.join("file").metadata().unwrap().uid(), 7);
}

#[test]
fn a_worker_has_the_rights_of_its_user() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let secret = home.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let read = || Op::Download { path: wire(&secret), range: None };
    assert_eq!(agent.begin(Some("1000"), read()).finish().failure(), Some(FileFailure::Denied));
    assert_eq!(agent.file(read()).content, b"x");
    let new = home.path().join("new");
    let touch = agent.begin(Some("1000"), Op::Touch { path: wire(&new) }).finish();
    assert_eq!(touch.failure(), Some(FileFailure::Denied));
    assert_eq!(agent.refused(Some("no one"), read()), StartFailureKind::NoSuchUser);
}

#[test]
fn what_is_no_file_is_not_opened_for_long() {
    let agent = Agent::start();
    let failure =
        |path: &str| agent.file(Op::Download { path: wire(Path::new(path)), range: None }).failure();
    assert_eq!(failure("/dev/zero"), Some(FileFailure::Special));
    assert_eq!(failure("/etc"), Some(FileFailure::IsDirectory));
    assert_eq!(failure("/nothing"), Some(FileFailure::NotFound));
    assert_eq!(failure("/proc/self/root/etc/passwd"), Some(FileFailure::BadPath), "a magic link");
    let status = agent.file(Op::Download { path: wire(Path::new("/proc/self/status")), range: None });
    assert!(status.content.starts_with(b"Name:"), "its size is told as none");
    let up = agent.upload(Path::new("/dev/null"), b"x", 10);
    assert_eq!(up.failure(), Some(FileFailure::Special));
}

#[test]
fn workers_have_a_limit_and_die_with_their_connection() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let upload = |number: usize| {
        let path = wire(&home.path().join(number.to_string()));
        agent.begin(None, Op::Upload { path, mode: 0o644, limit: 10 })
    };
    let mut open: Vec<_> = (0..MAX_FILE_WORKERS).map(upload).collect();
    for conversation in &mut open {
        assert_eq!(conversation.next().unwrap().0, FrameType::Head);
    }
    let stat = || Op::Stat { path: wire(home.path()) };
    assert_eq!(agent.refused(None, stat()), StartFailureKind::ExecutionLimit);
    drop(open);
    agent.wait_until_empty();
    assert_eq!(agent.children().len(), 1, "the init alone");
    assert_eq!(agent.file(stat()).failure(), None);
}
