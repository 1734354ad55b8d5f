//! Watches, each by a worker of its own.

use crate::agent::Agent;
use crate::conversation::{Conversation, wire};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::files::{EventKind, FileOperation as Op, Hidden, Reach, WatchEvent};
use bulkhead_protocol::frame::FrameType;
use std::path::{Path, PathBuf};

/// A watch that has begun.
struct Watch {
    conversation: Conversation,
    seen: Vec<WatchEvent>,
    home: PathBuf,
}

impl Watch {
    fn begin(agent: &Agent, home: &Path, reach: Reach, hidden: Hidden) -> Self {
        let operation = Op::Watch { path: wire(home), reach, hidden };
        let mut conversation = agent.begin(None, operation);
        assert_eq!(conversation.next().expect("a head").0, FrameType::Head);
        Self { conversation, seen: Vec::new(), home: home.to_owned() }
    }

    /// Events up to the creation of this name, without that.
    fn until(&mut self, name: &str) -> Vec<(EventKind, String, Option<String>)> {
        let home = self.home.to_str().expect("text");
        let text = |path: &str| {
            let bytes = STANDARD.decode(path).expect("base64");
            String::from_utf8(bytes).expect("text").replacen(home, "", 1)
        };
        let end = format!("/{name}");
        loop {
            let last = self.seen.iter().position(|event| text(&event.path.0) == end);
            if let Some(at) = last {
                let events = self.seen.drain(..=at).take(at);
                let old = |event: &WatchEvent| event.old_path.as_ref().map(|path| text(&path.0));
                return events.map(|event| (event.kind, text(&event.path.0), old(&event))).collect();
            }
            let (kind, payload) = self.conversation.next().expect("more events");
            if kind == FrameType::Stdout {
                let lines = payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
                self.seen.extend(lines.map(|line| serde_json::from_slice::<WatchEvent>(line).expect("JSON")));
            }
        }
    }
}

#[test]
fn changes_are_told_with_both_names_of_a_move() {
    use EventKind as Kind;
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let at = |name: &str| home.path().join(name);
    std::fs::create_dir(at("old")).unwrap();
    let mut watch = Watch::begin(&agent, home.path(), Reach::Below, Hidden::Skip);
    std::fs::write(at("old/file"), "x").unwrap();
    std::fs::rename(at("old"), at("new")).unwrap();
    std::fs::write(at("new/.hidden"), "x").unwrap();
    std::fs::rename(at("new/file"), at("file")).unwrap();
    std::fs::remove_file(at("file")).unwrap();
    std::fs::write(at("end"), "").unwrap();
    let events = watch.until("end");
    let plain = |kind, path: &str| (kind, path.to_owned(), None);
    let moved = |path: &str, old: &str| (Kind::Renamed, path.to_owned(), Some(old.to_owned()));
    assert_eq!(
        events,
        [
            plain(Kind::Created, "/old/file"),
            plain(Kind::Modified, "/old/file"),
            moved("/new", "/old"),
            moved("/file", "/new/file"),
            plain(Kind::Deleted, "/file"),
        ]
    );
    let other = tempfile::tempdir().unwrap();
    std::fs::rename(at("new"), other.path().join("new")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(100));
    std::fs::write(other.path().join("new/x"), "").unwrap();
    std::fs::write(at("last"), "").unwrap();
    assert_eq!(watch.until("last").last(), Some(&plain(Kind::Deleted, "/new")), "it left");
    drop(watch);
    agent.wait_until_empty();
}

#[test]
fn what_is_in_a_new_directory_is_told_of_once() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let mut watch = Watch::begin(&agent, home.path(), Reach::Below, Hidden::Show);
    let mut expected = Vec::new();
    for round in 0..200 {
        std::fs::create_dir_all(home.path().join(format!("{round}/a/b"))).unwrap();
        std::fs::write(home.path().join(format!("{round}/a/b/c")), "").unwrap();
        expected.extend(["", "/a", "/a/b", "/a/b/c"].map(|below| format!("/{round}{below}")));
    }
    std::fs::write(home.path().join("end"), "").unwrap();
    let events = watch.until("end");
    let created = events.into_iter().filter(|(kind, ..)| *kind == EventKind::Created);
    let mut created: Vec<_> = created.map(|(_, path, _)| path).collect();
    created.sort();
    expected.sort();
    assert_eq!(created, expected);
}

#[test]
fn a_watch_ends_with_its_path_and_a_burst_is_whole_or_says_so() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let top = home.path().join("top");
    std::fs::create_dir(&top).unwrap();
    let mut watch = Watch::begin(&agent, &top, Reach::Here, Hidden::Show);
    for number in 0..10_000 {
        std::fs::write(top.join(number.to_string()), "").unwrap();
    }
    std::fs::write(top.join("end"), "").unwrap();
    let events = watch.until("end");
    let created = events.iter().filter(|(kind, ..)| *kind == EventKind::Created).count();
    let lost = events.iter().any(|(kind, ..)| *kind == EventKind::Overflow);
    assert!(created == 10_000 || lost, "{created}");
    std::fs::remove_dir_all(&top).unwrap();
    while let Some((kind, _)) = watch.conversation.next() {
        if kind == FrameType::Done {
            return agent.wait_until_empty();
        }
    }
    panic!("no end");
}
