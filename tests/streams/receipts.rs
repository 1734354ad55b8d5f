//! The receipt of a kill: how many processes there were, and that the group is empty.

use bulkhead_tests::Server;
use serde_json::json;

#[test]
fn a_receipt_counts_what_was_there() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox
        .run("sleep 96961 & setsid sleep 96961 & (setsid sleep 96961 &) ; trap '' TERM; wait; sleep 96961");
    crate::wait_for(&sandbox, "sleep 96961", 3);
    let killed = sandbox.kill(pid);
    assert!((4..=8).contains(&killed), "{killed} of a shell and three sleeps");
    let inside = sandbox.processes();
    let left: Vec<_> = inside.iter().filter(|p| p.command.contains("96961")).collect();
    assert!(left.is_empty(), "alive after the receipt: {left:?}");
    assert_eq!(sandbox.kill(pid), 0, "nothing was left to kill");
    assert!(!sandbox.lists(pid));
    assert_eq!(sandbox.wait(pid), 137);
}

#[test]
fn a_kill_reaches_no_other_command() {
    let server = Server::start();
    let sandbox = server.create();
    let (first, second) = (sandbox.run("sleep 96962"), sandbox.run("sleep 2; exit 8"));
    let _ended = sandbox.kill(first);
    assert!(sandbox.lists(second));
    assert_eq!(sandbox.wait(second), 8);
}

#[test]
fn what_a_command_left_behind_is_killed_with_it() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("setsid sleep 96963 >/dev/null 2>&1 & echo started");
    assert_eq!(sandbox.attach(pid, "").collect().stdout, "started\n");
    let _ended = sandbox.kill(pid);
    crate::assert_gone(&sandbox, "96963");
}

#[test]
fn two_may_kill_at_once() {
    let server = Server::start();
    let sandbox = server.create();
    let pid = sandbox.run("sleep 96964 & sleep 96964");
    std::thread::scope(|scope| {
        let kills: Vec<_> = (0..6).map(|_| scope.spawn(|| sandbox.kill(pid))).collect();
        for kill in kills {
            let _killed = kill.join().expect("each gets a receipt");
        }
    });
    crate::assert_gone(&sandbox, "96964");
}

#[test]
fn a_full_table_of_processes_stops_no_kill() {
    let server = Server::start();
    let sandbox = server.create_with(json!({"limits": {"pids": 48}}));
    let pid = sandbox.run("for i in $(seq 200); do sleep 96965 & done; wait");
    crate::wait_for(&sandbox, "sleep 96965", 30);
    assert!(sandbox.kill(pid) >= 30);
    crate::assert_gone(&sandbox, "96965");
    assert_eq!(sandbox.exec("echo room again").stdout, "room again\n");
}
