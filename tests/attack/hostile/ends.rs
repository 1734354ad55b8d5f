//! M07: agents that refuse to die.

use super::{assert_log_is_ours, hostile_server};
use crate::base::Base;
use bulkhead_tests::groups::InForce;
use bulkhead_tests::host::directories;
use bulkhead_tests::{Sandbox, eventually};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// From the call to the proof that nothing is left (catalogue M07).
const DESTROY: Duration = Duration::from_secs(5);
/// Processes of a sandbox that multiplies.
const PIDS: u64 = 64;

/// A sandbox that may do its worst: what bounds it was read back.
fn bounded<'a>(server: &'a bulkhead_tests::Server, name: &str) -> Sandbox<'a> {
    let limits = json!({"pids": PIDS, "memoryMiB": 256, "cpus": 1.0});
    let sandbox = server.create_with(json!({"name": name, "limits": limits}));
    let in_force = InForce::of(&sandbox);
    assert_eq!(in_force, InForce::for_tenant(256, PIDS, 1000), "{name}");
    sandbox
}

fn assert_dies(sandbox: &Sandbox<'_>) {
    let start = Instant::now();
    sandbox.delete();
    let took = start.elapsed();
    println!("destroyed in {took:?}");
    assert!(took < DESTROY, "{took:?}");
    assert_eq!(sandbox.processes().len(), 0, "the answer is a proof");
}

#[test]
fn m07_who_forks_faster_than_it_is_killed_dies() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let sandbox = bounded(&server, "forks");
    eventually("it is at its limit", || {
        let many = sandbox.processes().len();
        if many > 60 { Ok(()) } else { Err(format!("{many} processes")) }
    });
    assert_dies(&sandbox);
    base.delete_others();
    base.assert_back();
    assert_log_is_ours(&server);
}

#[test]
fn m07_who_ignores_signals_and_stops_dies() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    for name in ["ignores", "stops"] {
        let sandbox = bounded(&server, name);
        if name == "stops" {
            eventually("its processes have stopped", || {
                let stopped = sandbox.processes().iter().filter(|p| p.state == 'T').count();
                if stopped >= 16 { Ok(()) } else { Err(format!("{stopped} stopped")) }
            });
        }
        assert_dies(&sandbox);
    }
    base.delete_others();
    base.assert_back();
}

#[test]
fn m07_who_freezes_itself_dies() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let sandbox = bounded(&server, "freezes");
    let leaf = format!("/{}/leaf", sandbox.id());
    eventually("it is frozen", || {
        let groups = directories(Path::new("/sys/fs/cgroup"), &|path| path.ends_with(&leaf));
        let events =
            groups.iter().filter_map(|group| fs::read_to_string(format!("{group}/cgroup.events")).ok());
        let text: String = events.collect();
        if text.contains("frozen 1") && text.contains("populated 1") {
            Ok(())
        } else {
            Err(format!("{groups:?} {text}"))
        }
    });
    assert_dies(&sandbox);
    base.delete_others();
    base.assert_back();
}

/// The sandbox ends as soon as its first process does, and with it all that it started.
#[test]
fn m07_who_leaves_takes_everything_along() {
    let server = hostile_server();
    let base = Base::of_many(&server, 4);
    let sandbox = bounded(&server, "leaves");
    let answer = sandbox.post_exec(
        &json!({"command": "#agent\n[os.fork() or time.sleep(71867) for _ in range(5)]\nos._exit(0)"}),
    );
    assert!(matches!(answer.status, 200 | 409 | 502), "{}", answer.text());
    eventually("nothing of it lives", || {
        let left = sandbox.processes().len();
        if left == 0 { Ok(()) } else { Err(format!("{left} processes")) }
    });
    assert_eq!(sandbox.object()["status"], "killed");
    assert_dies(&sandbox);
    base.delete_others();
    base.assert_back();
}
