//! Sandboxes that run though their record was set aside: nobody ends them unasked, and "it is gone" is true.

use crate::kept::{id_of, listed, on_disk, order};
use bulkhead_protocol::SandboxId;
use bulkhead_protocol::runtime::{Call, Disk, LeakKind, Reply};
use bulkhead_tests::{RuntimeLink, Sandbox, Server, eventually, host};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Holds a lease on a file until its input ends: meanwhile nobody can open it without waiting.
const HOLDER: &str = "import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = open(sys.argv[1])
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print('held', flush=True)
sys.stdin.read()";

fn record(server: &Server, id: &SandboxId) -> PathBuf {
    server.instance().run.join(format!("intents/{id}.json"))
}

/// A server with running sandboxes whose records are torn, after a start.
fn strays(count: usize) -> (Server, Vec<SandboxId>) {
    let mut server = Server::start();
    let ids: Vec<_> = (0..count)
        .map(|_| {
            let sandbox = server.create();
            assert_eq!(sandbox.exec("echo mine > /root/mine; setsid sleep 600 & sleep 0.1").code, 0);
            id_of(&sandbox)
        })
        .collect();
    server.kill_serve();
    for id in &ids {
        fs::write(record(&server, id), "{").expect("a record");
    }
    server.start_again();
    for id in &ids {
        assert!(!Sandbox::of(&server, id.as_str()).processes().is_empty(), "it was left alone");
    }
    (server, ids)
}

fn processes(server: &Server, id: &SandboxId) -> Vec<host::Process> {
    Sandbox::of(server, id.as_str()).processes()
}

#[test]
fn what_no_record_names_ends_before_anybody_is_told_so() {
    let (mut server, ids) = strays(3);
    let [deleted, stopped, started] = &ids[..] else { unreachable!("three") };
    let mut link = RuntimeLink::to(&server);
    Sandbox::of(&server, deleted.as_str()).delete();
    assert!(processes(&server, deleted).is_empty());
    assert_eq!(link.call(Call::Stop { id: stopped.clone() }), Reply::Stopped);
    assert!(processes(&server, stopped).is_empty());
    assert_eq!(on_disk(&server, stopped, "root/mine"), "mine\n");
    let before: Vec<_> = processes(&server, started).iter().map(|process| process.pid).collect();
    assert_eq!(link.call(order(started, 2, Disk::Kept)), Reply::Created { launch: 2 });
    assert!(processes(&server, started).iter().all(|process| !before.contains(&process.pid)));
    assert_eq!(listed(&mut link, started).map(|row| row.launch), Some(2));
    assert_eq!(link.call(order(stopped, 2, Disk::Kept)), Reply::Created { launch: 2 });
    // Their agents are init's to reap, and their ranges are used again after that.
    eventually("nothing but the records is left", || match link.call(Call::Leaks) {
        Reply::Leaks(leaks) if leaks.iter().all(|leak| leak.kind == LeakKind::Record) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // A purge takes those away.
    server.stop();
}

/// A record that cannot be read now may be whole: the start fails and is tried again, and nothing is set aside.
#[test]
fn a_record_that_cannot_be_read_now_is_not_set_aside() {
    let server = Server::start();
    let sandbox = server.create();
    let path = record(&server, &id_of(&sandbox));
    let mut holder = Command::new("python3")
        .args(["-c", HOLDER])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 starts");
    let mut word = [0; 5];
    std::io::Read::read_exact(holder.stdout.as_mut().expect("a pipe"), &mut word).expect("it holds the file");
    host::kill9(server.half("runtime").pid);
    eventually("the start fails", || match server.log() {
        log if log.contains("read a record") => Ok(()),
        log => Err(log),
    });
    drop(holder.stdin.take());
    assert!(holder.wait().expect("a child").success());
    server.wait_healthy();
    let mut link = RuntimeLink::to(&server);
    assert_eq!(listed(&mut link, &id_of(&sandbox)).map(|row| row.launch), Some(1));
    assert!(path.exists() && !path.with_extension("bad").exists());
    assert_eq!(sandbox.exec("echo unharmed").stdout, "unharmed\n");
}
