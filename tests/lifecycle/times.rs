//! TTL and idleness, with restarts in between.

use crate::{status, step};
use bulkhead_tests::{Sandbox, Server, within};
use serde_json::json;
use std::time::{Duration, Instant};

/// A TTL is kept to within five seconds; a machine that is busy with other tests gets some more.
const LATE: Duration = Duration::from_secs(8);

fn gone(sandbox: &Sandbox<'_>) -> Result<(), String> {
    match sandbox.client().get(&sandbox.path("")).status {
        404 => Ok(()),
        other => Err(other.to_string()),
    }
}

#[test]
fn a_ttl_ends_what_runs_and_what_sleeps_over_restarts() {
    let mut server = Server::start();
    let more = json!({"ttlSeconds": 5});
    let start = Instant::now();
    let ids = [server.create_with(more.clone()), server.create_with(more.clone()), server.create_with(more)]
        .map(|sandbox| sandbox.id().to_owned());
    step(&Sandbox::of(&server, &ids[1]), "sleep");
    step(&Sandbox::of(&server, &ids[2]), "freeze");
    server.kill_half("gateway");
    server.kill_everything();
    server.start_again();
    for id in &ids {
        within(Duration::from_secs(5) + LATE, "it is gone", || gone(&Sandbox::of(&server, id)));
    }
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
    server.assert_no_sandbox_left();
}

#[test]
fn an_idle_one_sleeps_and_one_with_a_command_stands_still() {
    let server = Server::start();
    let more = json!({"idleTimeoutSeconds": 5});
    let (idle, busy, used) =
        (server.create_with(more.clone()), server.create_with(more.clone()), server.create_with(more));
    let pid = busy.run("sleep 1000");
    std::thread::scope(|scope| {
        let long = scope.spawn(|| used.exec_with("sleep 9; echo done", json!({"timeout": 60})));
        for sandbox in [&idle, &busy] {
            within(Duration::from_secs(5) + LATE, "it rests", || match status(sandbox).as_str() {
                "snapshotted" => Ok(()),
                other => Err(other.to_owned()),
            });
        }
        assert!(idle.processes().is_empty(), "nothing ran in it");
        assert_eq!(busy.processes().iter().filter(|p| p.command.contains("sleep 1000")).count(), 1);
        assert_eq!(long.join().expect("the client").ok().stdout, "done\n", "use is no idleness");
    });
    assert!(busy.lists(pid), "the look thaws it, and its command is there");
    assert_eq!(idle.exec("echo x").line(), "x");
}
