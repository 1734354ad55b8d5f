//! Twenty sandboxes outlive the gateway, the runtime, the supervisor, and all of them at once.

use crate::{assert_all_there, crowd, delete_all, ids};
use bulkhead_tests::{Server, eventually, host};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_gateway_is_killed() {
    let server = Server::start();
    let ids = ids(&crowd(&server));
    let runtime = server.half("runtime").pid;
    server.kill_half("gateway");
    assert_all_there(&ids, &server);
    assert_eq!(server.half("runtime").pid, runtime, "the runtime went too");
    delete_all(&ids, &server);
}

#[test]
fn the_runtime_is_killed() {
    let server = Server::start();
    let ids = ids(&crowd(&server));
    let gateway = server.half("gateway").pid;
    server.kill_half("runtime");
    assert_all_there(&ids, &server);
    assert_eq!(server.half("gateway").pid, gateway, "the gateway went too");
    let late = server.create();
    assert_eq!(late.exec("echo new").stdout, "new\n");
    late.delete();
    delete_all(&ids, &server);
}

#[test]
fn both_halves_are_killed_at_once() {
    let server = Server::start();
    let ids = ids(&crowd(&server));
    let halves = [server.half("gateway").pid, server.half("runtime").pid];
    halves.into_iter().for_each(host::kill9);
    server.wait_healthy();
    assert_all_there(&ids, &server);
    delete_all(&ids, &server);
}

#[test]
fn the_supervisor_is_killed() {
    let mut server = Server::start();
    let ids = ids(&crowd(&server));
    let key = server.client().key().to_owned();
    server.kill_serve();
    server.start_again();
    assert_all_there(&ids, &server);
    assert_eq!(server.client().with_key(&key).get("/sandboxes").status, 200, "the key goes on");
    delete_all(&ids, &server);
}

#[test]
fn everything_is_killed_twice() {
    let mut server = Server::start();
    let ids = ids(&crowd(&server));
    for _ in 0..2 {
        server.kill_everything();
        server.start_again();
        assert_all_there(&ids, &server);
    }
    delete_all(&ids, &server);
}

/// Half of the sandboxes die while nobody watches; afterwards they are `killed`, and the others run.
#[test]
fn what_died_unwatched_is_found_dead() {
    let mut server = Server::start();
    let ids = ids(&crowd(&server));
    let (dying, living) = ids.split_at(10);
    server.kill_serve();
    for id in dying {
        host::kill9(bulkhead_tests::Sandbox::of(&server, id).agent().pid);
    }
    server.start_again();
    for id in dying {
        let sandbox = bulkhead_tests::Sandbox::of(&server, id);
        bulkhead_tests::eventually("a dead sandbox is killed", || {
            let status = sandbox.object()["status"].clone();
            if status == "killed" { Ok(()) } else { Err(status.to_string()) }
        });
        let answer = sandbox.post_exec(&json!({"command": "true"}));
        assert!((400..600).contains(&answer.status), "{}", answer.text());
    }
    for id in living {
        assert_eq!(bulkhead_tests::Sandbox::of(&server, id).exec("echo alive").stdout, "alive\n");
    }
    delete_all(&ids, &server);
}

/// On Linux 6.18 every clone out of a group that was killed before dies at birth, unless the runtime moves.
#[test]
fn a_group_that_was_killed_before_is_no_place_to_stay() {
    let trees = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].map(Path::new);
    let tree = trees.into_iter().find(|tree| tree.join("cgroup.procs").exists()).expect("a v2 tree");
    let group = tree.join(format!("killed-once-{}", std::process::id()));
    fs::create_dir(&group).unwrap();
    let script = format!("echo 0 > {}/cgroup.procs && exec sleep 100", group.display());
    let mut victim = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    eventually("the victim is inside", || {
        let inside = fs::read_to_string(group.join("cgroup.procs")).unwrap();
        if inside.is_empty() { Err(inside) } else { Ok(()) }
    });
    fs::write(group.join("cgroup.kill"), "1").unwrap();
    victim.wait().unwrap();
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let home = own.lines().find_map(|line| line.strip_prefix("0::/")).expect("a place in the v2 tree");
    fs::write(group.join("cgroup.procs"), "0").unwrap();
    let server = Server::start();
    assert_eq!(server.create().exec("echo born").stdout, "born\n");
    drop(server);
    fs::write(tree.join(home).join("cgroup.procs"), "0").unwrap();
    fs::remove_dir(&group).unwrap();
}
