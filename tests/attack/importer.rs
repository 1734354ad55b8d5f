//! A stage of an import that was taken over by what it unpacked, played by a debugger, which makes system calls in its
//! place: what it may still do, and what is left of it.

mod possessed;

use bulkhead_protocol::image::{ImageCeilings, ImageName, ImportImage};
use bulkhead_protocol::runtime::{Call, RefusalKind, Reply};
use bulkhead_tests::eventually::eventually;
use bulkhead_tests::host::{self, Process, directories};
use bulkhead_tests::{RuntimeLink, Server, Switch};
use nix::errno::Errno;
use nix::libc as c;
use possessed::Possessed;
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

/// Files of the image: enough for a stage to be met while it works.
const FILES: u32 = 6000;

fn header(size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_size(size as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    header
}

fn archive(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        archive.append_data(&mut header(content.len()), name, &content[..]).expect("a member");
    }
    archive.into_inner().expect("an archive")
}

/// What `docker save` would write of an image of one layer, another one for each byte.
fn image(content: u8) -> Vec<u8> {
    let files: Vec<_> = (0..FILES).map(|number| (format!("d/{number}"), vec![content; 2000])).collect();
    let layer = archive(&files);
    let diff_id: String = Sha256::digest(&layer).iter().map(|byte| format!("{byte:02x}")).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff_id}")]},
    });
    let manifest = json!([{"Config": "config.json", "Layers": ["layer.tar"]}]);
    archive(&[
        ("manifest.json".to_owned(), manifest.to_string().into_bytes()),
        ("config.json".to_owned(), config.to_string().into_bytes()),
        ("layer.tar".to_owned(), layer),
    ])
}

/// An import that goes on. One of a layer that the store has would be over before anybody saw it.
fn begin(server: &Server, content: u8) -> RuntimeLink {
    let mut source = tempfile::NamedTempFile::new().expect("a file");
    std::io::Write::write_all(&mut source, &image(content)).expect("an archive");
    let progress = tempfile::tempfile().expect("a file");
    let order = ImportImage {
        org: None,
        name: ImageName::parse("x").expect("a name"),
        created_by: None,
        ceilings: ImageCeilings::default(),
    };
    let mut link = RuntimeLink::to(server);
    let source = fs::File::open(source.path()).expect("the archive");
    link.send_with(Call::ImportImage(order), &[source.as_fd(), progress.as_fd()]);
    link
}

fn importers(server: &Server) -> Vec<Process> {
    let mut found = host::family(server.half("runtime").pid);
    found.retain(|process| process.is_half("importer"));
    found
}

fn unpacking(server: &Server) -> Process {
    eventually("a stage unpacks", || {
        let found = importers(server);
        let stage = found.iter().find(|process| process.command.contains("--stage unpack"));
        stage.cloned().ok_or_else(|| format!("{found:?}"))
    })
}

fn import_groups(server: &Server) -> Vec<String> {
    let name = format!("/{}/import-", server.instance().name);
    directories(Path::new("/sys/fs/cgroup"), &|path| path.contains(&name))
}

/// Calls with arguments for which the kernel would have another error than `EPERM`.
const CALLS: [(&str, c::c_long, [u64; 6]); 9] = [
    ("execve", c::SYS_execve, [0; 6]),
    ("mount", c::SYS_mount, [0; 6]),
    ("mknodat", c::SYS_mknodat, [u64::MAX, 0, 0, 0, 0, 0]),
    ("ptrace", c::SYS_ptrace, [7, 4_000_000, 0, 0, 0, 0]),
    ("kill", c::SYS_kill, [4_000_000, 0, 0, 0, 0, 0]),
    ("memfd_create", c::SYS_memfd_create, [0; 6]),
    ("mprotect", c::SYS_mprotect, [0, 4096, 5, 0, 0, 0]),
    ("socket", c::SYS_socket, [1, 1, 0, 0, 0, 0]),
    ("fork", c::SYS_fork, [0; 6]),
];

#[test]
fn a_stage_that_was_taken_over_has_no_call_to_go_on_with() {
    let server = Server::start();
    let mut link = begin(&server, 1);
    let mut stage = Possessed::take(&unpacking(&server));
    assert_eq!(stage.status("Seccomp:"), "2");
    assert_eq!(
        stage.status("NSpid:").split_whitespace().nth(1),
        Some("1"),
        "first of a namespace of its own"
    );
    for (name, number, arguments) in CALLS {
        assert_eq!(stage.call(number, arguments), Err(Errno::EPERM), "{name}");
    }
    assert_eq!(stage.call(c::SYS_clone3, [0; 6]), Err(Errno::ENOSYS));
    // What was in the way of the debugger goes on as if nothing had been.
    stage.leave();
    let Some(Reply::Imported(_)) = link.answer() else { panic!("no image") };
}

/// What a process of a stage could start ends with it, also where no filter is.
#[test]
fn a_stage_that_was_taken_over_leaves_no_process() {
    let server = Server::weakened(&[Switch::ImporterFilter]);
    let mut link = begin(&server, 2);
    let found = unpacking(&server);
    let mut stage = Possessed::take(&found);
    assert_eq!(stage.status("Seccomp:"), "0");
    for (name, number, arguments) in CALLS {
        assert_ne!(stage.call(number, arguments), Err(Errno::EPERM), "{name}");
    }
    let children = || host::family(found.pid).into_iter().filter(|process| process.pid != found.pid).count();
    assert_eq!(children(), 1, "it forked");
    stage.leave();
    host::kill9(found.pid);
    let Some(Reply::Refused { kind: RefusalKind::Failed, .. }) = link.answer() else { panic!("an image") };
    let left = importers(&server);
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(import_groups(&server), Vec::<String>::new());
}

#[test]
fn an_import_has_a_group_with_limits_which_goes_with_it() {
    let mut server = Server::start();
    let mut link = begin(&server, 3);
    let mut stage = Possessed::take(&unpacking(&server));
    let groups = import_groups(&server);
    let read = |names: &[&str]| {
        let files = groups.iter().flat_map(|group| names.iter().map(move |name| Path::new(group).join(name)));
        let text = files.filter_map(|file| fs::read_to_string(file).ok()).next();
        text.unwrap_or_else(|| panic!("none of {names:?} in {groups:?}")).trim().to_owned()
    };
    assert_eq!(read(&["memory.max", "memory.limit_in_bytes"]), (512 << 20).to_string());
    assert_eq!(read(&["pids.max"]), "16");
    assert_eq!(stage.file("oom_score_adj").trim(), "500");
    for group in groups.iter().filter(|group| Path::new(group).join("cgroup.procs").exists()) {
        let text = fs::read_to_string(Path::new(group).join("cgroup.procs")).unwrap_or_default();
        // The importer and its stage, in every hierarchy.
        let carries = ["memory.limit_in_bytes", "pids.max", "cgroup.kill"];
        if carries.iter().any(|file| Path::new(group).join(file).exists()) {
            assert_eq!(text.lines().count(), 2, "{group}: {text}");
        }
    }
    stage.leave();
    let Some(Reply::Imported(_)) = link.answer() else { panic!("no image") };
    assert_eq!(import_groups(&server), Vec::<String>::new());
    // And with a runtime that is killed, or that ends.
    drop(begin(&server, 4));
    drop(unpacking(&server));
    server.kill_half("runtime");
    eventually("the group of an import is gone", || match import_groups(&server).as_slice() {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    });
    drop(begin(&server, 5));
    drop(unpacking(&server));
    server.stop();
    assert_eq!(import_groups(&server), Vec::<String>::new());
    server.start_again();
}
