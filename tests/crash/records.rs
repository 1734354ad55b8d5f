//! What a start does with records that lie, are torn, or come from another boot, and with steps that fail.

use crate::kept::{id_of, order};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{Call, Disk, Leak, LeakKind, Reply};
use bulkhead_tests::{RuntimeLink, Sandbox, Server, eventually, host};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

fn record(server: &Server, id: &SandboxId) -> PathBuf {
    server.instance().run.join(format!("intents/{id}.json"))
}

fn edit(server: &Server, id: &SandboxId, change: impl FnOnce(&mut Value)) {
    let path = record(server, id);
    let mut value = serde_json::from_slice(&fs::read(&path).expect("a record")).expect("JSON");
    change(&mut value);
    fs::write(&path, value.to_string()).expect("a record");
}

fn leaks(link: &mut RuntimeLink) -> Vec<Leak> {
    match link.call(Call::Leaks) {
        Reply::Leaks(leaks) => leaks,
        other => panic!("{other:?}"),
    }
}

fn disks(link: &mut RuntimeLink) -> Vec<SandboxId> {
    match link.call(Call::ListDisks { after: None }) {
        Reply::Disks(disks) => disks,
        other => panic!("{other:?}"),
    }
}

/// C04: a torn record is set aside. What it was of is left alone and told of; its range is nobody else's.
#[test]
fn c04_a_torn_record_is_set_aside_and_told_of() {
    let mut server = Server::start();
    let (torn, sound) = (server.create().id().to_owned(), server.create().id().to_owned());
    assert_eq!(leaks(&mut RuntimeLink::to(&server)), []);
    let id = SandboxId::parse(&torn).expect("an id");
    let agent = Sandbox::of(&server, &torn).agent();
    server.kill_serve();
    let path = record(&server, &id);
    let text = fs::read(&path).expect("a record");
    fs::write(&path, &text[..text.len() / 2]).expect("a record");
    server.start_again();
    assert_eq!(Sandbox::of(&server, &sound).exec("echo unharmed").stdout, "unharmed\n");
    assert!(host::processes().iter().any(|process| process.pid == agent.pid), "it was left alone");
    let found = leaks(&mut RuntimeLink::to(&server));
    let count = |kind| found.iter().filter(|leak| leak.kind == kind).count();
    assert!(found.contains(&Leak { kind: LeakKind::Record, name: format!("{id}.bad") }), "{found:?}");
    assert!(found.contains(&Leak { kind: LeakKind::Cgroup, name: torn.clone() }), "{found:?}");
    assert_eq!(
        (count(LeakKind::Ids), count(LeakKind::Mount), count(LeakKind::Socket)),
        (1, 0, 0),
        "{found:?}"
    );
    assert!(count(LeakKind::Process) >= 2, "its agent and its init: {found:?}");
    for _ in 0..3 {
        assert_ne!(server.create().agent().uid, agent.uid, "a range was given to two");
    }
    // A purge takes the rest away.
    server.stop();
}

/// C03: the number of the agent is another process's now.
#[test]
fn c03_a_number_that_was_given_away_is_nobodys_agent() {
    let mut server = Server::start();
    let sandbox = server.create();
    let (id, agent) = (id_of(&sandbox), sandbox.agent().pid);
    let mut bystander = Command::new("sleep").arg("600").spawn().expect("sleep starts");
    server.kill_serve();
    host::kill9(agent);
    let stat = fs::read_to_string(format!("/proc/{}/stat", bystander.id())).expect("its stat");
    let start =
        stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(19)).expect("a start time");
    let start: u64 = start.parse().expect("a number");
    edit(&server, &id, |record| {
        record["phase"]["running"] = json!({"pid": bystander.id(), "start_time": start});
    });
    server.start_again();
    let sandbox = Sandbox::of(&server, id.as_str());
    eventually("it is killed", || match &sandbox.object()["status"] {
        status if status == "killed" => Ok(()),
        status => Err(status.to_string()),
    });
    assert_eq!(bystander.try_wait().expect("a child"), None, "a stranger was harmed");
    bystander.kill().and_then(|()| bystander.wait()).expect("it ends");
}

/// C05: after another boot nothing runs; what was kept is kept, what was to go goes.
#[test]
fn c05_after_another_boot_only_disks_are_left() {
    let mut server = Server::start();
    let ids: Vec<_> = (0..3).map(|_| id_of(&server.create())).collect();
    let [running, ending, launching] = &ids[..] else { unreachable!("three") };
    server.kill_everything();
    for id in &ids {
        let sandbox = Sandbox::of(&server, id.as_str());
        for process in sandbox.processes() {
            host::kill9(process.pid);
        }
        eventually("nothing of it runs", || match sandbox.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(format!("{left:?}")),
        });
        edit(&server, id, |record| record["boot"] = json!("another"));
    }
    edit(&server, ending, |record| record["phase"] = json!({"ending": "discard"}));
    edit(&server, launching, |record| record["phase"] = json!({"launching": "new"}));
    server.start_again();
    let mut link = RuntimeLink::to(&server);
    assert_eq!(link.call(Call::List { after: None }), Reply::Sandboxes(Vec::new()));
    assert_eq!(disks(&mut link), std::slice::from_ref(running));
    assert!(ids.iter().all(|id| !record(&server, id).exists()));
    server.stop();
}

/// C07: a step that fails is tried again with pauses; nobody else notices, and it is done when it can be.
#[test]
fn c07_a_disk_that_cannot_go_holds_nobody_up() {
    let server = Server::start();
    let (stuck, other) = (server.create(), server.create());
    let (id, mut link) = (id_of(&stuck), RuntimeLink::to(&server));
    let disk = server.instance().run.join(format!("store/{id}"));
    let attribute = |flag: &str| {
        let changed = Command::new("chattr").arg(flag).arg(&disk).status().expect("chattr of e2fsprogs");
        assert!(changed.success());
    };
    attribute("+i");
    link.send(Call::Destroy { id: id.clone() });
    eventually("its processes are gone", || match stuck.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{left:?}")),
    });
    let runtime = server.half("runtime");
    let before = runtime.cpu_ticks();
    std::thread::sleep(Duration::from_secs(2));
    assert!(runtime.cpu_ticks() - before < 20, "a busy loop: {} ticks in 2 s", runtime.cpu_ticks() - before);
    assert_eq!(other.exec("echo unharmed").stdout, "unharmed\n");
    let id_of_next = id_of(&server.create());
    let mut second = RuntimeLink::to(&server);
    assert_eq!(second.call(Call::Stop { id: id_of_next.clone() }), Reply::Stopped);
    assert_eq!(second.call(order(&id_of_next, 2, Disk::Kept)), Reply::Created { launch: 2 });
    assert!(disks(&mut second).contains(&id));
    attribute("-i");
    assert_eq!(link.answer(), Some(Reply::Destroyed));
    assert!(!disks(&mut second).contains(&id));
}
