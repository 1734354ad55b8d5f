//! Archives and walks over trees, each by a worker of its own.

use crate::agent::Agent;
use crate::conversation::{plant, same, wire};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bulkhead_protocol::files::{End, FileFailure, FileOperation as Op, Format, PathText};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

#[test]
fn every_format_gives_back_what_it_took() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let tree = home.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    plant(&tree);
    for format in [Format::Tar, Format::TarGz, Format::TarBz2, Format::TarZst, Format::Zip] {
        let made = agent.file(Op::Compress { path: wire(&tree), format });
        assert_eq!(made.failure(), None, "{format:?}");
        let archive = made.done.unwrap().path.unwrap();
        let dest = home.path().join(format!("{format:?}"));
        let told = agent.file(Op::Extract { archive: archive.clone(), dest: wire(&dest) });
        assert_eq!(told.failure(), None, "{format:?}");
        assert_eq!(told.done.unwrap().entries, Some(9), "{format:?}");
        assert!(same(&tree, &dest.join("tree")), "{format:?}");
    }
    let listed = Command::new("tar").arg("-tzf").arg(home.path().join("tree.tar.gz")).output().unwrap();
    assert!(listed.status.success() && listed.stdout.starts_with(b"tree/\n"));
    agent.wait_until_empty();
}

#[test]
fn archives_of_gnu_tar_are_understood() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let tree = home.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    plant(&tree);
    std::fs::hard_link(tree.join("nothing"), tree.join("second")).unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let archive = home.path().join(format!("{format}.tar"));
        if format == "ustar" {
            std::fs::remove_file(tree.join("deep/er").join("n".repeat(200))).unwrap();
        }
        let mut tar = Command::new("tar");
        tar.arg(format!("--format={format}")).arg("-cf").arg(&archive).arg("-C").arg(&tree).arg(".");
        assert!(tar.status().unwrap().success());
        let dest = home.path().join(format);
        let told = agent.file(Op::Extract { archive: wire(&archive), dest: wire(&dest) });
        assert_eq!(told.failure(), None, "{format}");
        assert!(same(&tree, &dest), "{format}");
        assert_eq!(dest.join("second").metadata().unwrap().nlink(), 2, "{format}");
    }
}

#[test]
fn a_tree_goes_down_and_up_as_a_stream() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let tree = home.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    plant(&tree);
    let down = agent.file(Op::DownloadTree { path: wire(&tree) });
    assert_eq!(down.failure(), None);
    let dest = home.path().join("dest");
    std::fs::create_dir(&dest).unwrap();
    let mut tar = Command::new("tar").arg("-xC").arg(&dest).stdin(Stdio::piped()).spawn().unwrap();
    tar.stdin.take().unwrap().write_all(&down.content).unwrap();
    assert!(tar.wait().unwrap().success() && same(&tree, &dest));
    let up = |name: &str, limit| {
        let path = home.path().join(name);
        let mut upload = agent.begin(None, Op::UploadTree { path: wire(&path), limit });
        upload.give(&down.content);
        upload.end();
        (upload.finish(), path)
    };
    let (told, path) = up("up", u64::MAX);
    assert_eq!(told.failure(), None);
    assert!(same(&tree, &path));
    assert_eq!(up("small", 1000).0.failure(), Some(FileFailure::TooLarge));
}

/// One member of a tar archive, its name as it is.
fn member(kind: tar::EntryType, name: &[u8], link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o6755);
    header.set_size(u64::try_from(content.len()).expect("short"));
    header.as_mut_bytes()[..name.len()].copy_from_slice(name);
    header.as_mut_bytes()[157..157 + link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

#[test]
fn nothing_of_a_hostile_archive_leaves_its_directory() {
    use tar::EntryType as Kind;
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let outside = home.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "safe").unwrap();
    let absolute = outside.join("file").into_os_string().into_string().unwrap();
    let plain = |name: &[u8]| member(Kind::Regular, name, "", b"evil");
    let link = |name: &[u8], to: &str| member(Kind::Symlink, name, to, b"");
    let hard = |name: &[u8], to: &str| member(Kind::Link, name, to, b"");
    let cases: Vec<(Vec<u8>, FileFailure)> = vec![
        (plain(b"../outside/file"), FileFailure::Hostile),
        (plain(b"a/../../outside/file"), FileFailure::Hostile),
        (plain(absolute.as_bytes()), FileFailure::Hostile),
        ([link(b"l", "../outside"), plain(b"l/file")].concat(), FileFailure::Hostile),
        ([link(b"l", "../outside"), member(Kind::Directory, b"l", "", b"")].concat(), FileFailure::Hostile),
        ([link(b"l", &absolute), hard(b"h", "l")].concat(), FileFailure::Hostile),
        ([link(b"l", "."), plain(b"l/../file")].concat(), FileFailure::Hostile),
        ([link(b"l", "d"), plain(b"l/file")].concat(), FileFailure::Hostile),
        (hard(b"h", "../outside/file"), FileFailure::Hostile),
        ([link(b"l", "x"), hard(b"h", "l")].concat(), FileFailure::Hostile),
        (member(Kind::Char, b"null", "", b""), FileFailure::Hostile),
        (member(Kind::Fifo, b"pipe", "", b""), FileFailure::Hostile),
        (member(Kind::Symlink, b"l", "x", b"content"), FileFailure::BadArchive),
        (member(Kind::Directory, b"d", "", b"content"), FileFailure::BadArchive),
        (b"no archive at all".repeat(100), FileFailure::BadArchive),
        (plain(b"cut short")[..515].to_vec(), FileFailure::BadArchive),
    ];
    for (number, (bytes, failure)) in cases.into_iter().enumerate() {
        let archive = home.path().join("bad.tar");
        std::fs::write(&archive, bytes).unwrap();
        let dest = home.path().join("dest");
        let told = agent.file(Op::Extract { archive: wire(&archive), dest: wire(&dest) });
        assert_eq!(told.failure(), Some(failure), "case {number}");
        assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"safe", "case {number}");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "case {number}");
        std::fs::remove_dir_all(dest).unwrap();
    }
    let archive = home.path().join("setuid.tar");
    std::fs::write(&archive, plain(b"program")).unwrap();
    let dest = home.path().join("dest");
    assert_eq!(agent.file(Op::Extract { archive: wire(&archive), dest: wire(&dest) }).failure(), None);
    assert_eq!(dest.join("program").metadata().unwrap().mode() & 0o7777, 0o755, "no set-id bits");
}

#[test]
fn a_bomb_is_stopped_at_its_ratio() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    let tree = home.path().join("bomb");
    std::fs::File::create(&tree).unwrap().set_len(1 << 30).unwrap();
    let archive = home.path().join("bomb.tar.bz2");
    let tar = Command::new("tar").arg("-cjf").arg(&archive).arg("-C").arg(home.path()).arg("bomb").status();
    assert!(tar.unwrap().success());
    let dest = home.path().join("dest");
    let told = agent.file(Op::Extract { archive: wire(&archive), dest: wire(&dest) });
    assert_eq!(told.failure(), Some(FileFailure::Bounds));
    assert!(dest.join("bomb").metadata().unwrap().len() <= 64 << 20);
}

#[test]
fn walks_say_what_the_tools_say() {
    let (agent, home) = (Agent::start(), tempfile::tempdir().unwrap());
    plant(home.path());
    std::fs::hard_link(home.path().join("nothing"), home.path().join("second")).unwrap();
    let du = Command::new("du").args(["-s", "-B1"]).arg(home.path()).output().unwrap().stdout;
    let du = String::from_utf8(du).unwrap();
    let expected: u64 = du.split('\t').next().unwrap().parse().unwrap();
    let told = agent.file(Op::DiskUsage { path: wire(home.path()) });
    assert_eq!(told.done.unwrap().bytes, Some(expected));
    let search = |pattern: &str, limit| {
        let pattern = PathText(STANDARD.encode(pattern));
        let told = agent.file(Op::Search { path: wire(home.path()), pattern, limit });
        assert_eq!(told.failure(), None);
        String::from_utf8(told.content).unwrap().replace(home.path().to_str().unwrap(), "")
    };
    assert_eq!(search("no*", 10), "/nothing\0");
    assert_eq!(search("n", 10).split('\0').count(), 5 - 1, "files alone, no links");
    assert_eq!(search("*", 2), format!("/deep/\"q\" \n\u{1f980}\0/deep/er/{}\0", "n".repeat(200)));
    std::fs::write(home.path().join("text"), "1\n2\n3\n").unwrap();
    let lines =
        |lines, end| agent.file(Op::HeadTail { path: wire(&home.path().join("text")), lines, end }).content;
    assert_eq!(lines(2, End::Head), b"1\n2\n");
    assert_eq!(lines(2, End::Tail), b"2\n3\n");
}
