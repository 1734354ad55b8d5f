//! Many commands at once, in one sandbox and in several.

use bulkhead_tests::{Sandbox, Server};
use serde_json::json;
use std::time::{Duration, Instant};

fn all_at_once(sandboxes: &[Sandbox<'_>], clients: usize, rounds: usize) {
    std::thread::scope(|scope| {
        for client in 0..clients {
            let sandbox = &sandboxes[client % sandboxes.len()];
            scope.spawn(move || {
                for round in 0..rounds {
                    let run = sandbox
                        .exec(&format!("echo {client}.{round}; echo e{client} >&2; exit {}", client % 200));
                    let expected = (format!("{client}.{round}\n"), format!("e{client}\n"));
                    assert_eq!((run.stdout, run.stderr), expected);
                    assert_eq!(run.code, i64::try_from(client % 200).expect("small"));
                }
            });
        }
    });
}

#[test]
fn sixteen_clients_in_one_sandbox() {
    let server = Server::start();
    all_at_once(&[server.create()], 16, 20);
}

#[test]
fn sixteen_clients_in_four_sandboxes() {
    let server = Server::start();
    let sandboxes: Vec<_> = (0..4).map(|_| server.create()).collect();
    all_at_once(&sandboxes, 16, 10);
}

#[test]
fn commands_run_beside_each_other() {
    let server = Server::start();
    let sandbox = server.create();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| sandbox.exec("sleep 1").ok());
        }
    });
    assert!(start.elapsed() < Duration::from_secs(8), "one after the other: {:?}", start.elapsed());
}

#[test]
fn too_many_at_once_are_told_so_and_the_rest_goes_on() {
    let server = Server::start();
    let sandbox = server.create();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..80)
            .map(|_| scope.spawn(|| sandbox.post_exec(&json!({"command": "sleep 3"})).status))
            .collect();
        calls.into_iter().map(|call| call.join().expect("an answer")).collect()
    });
    let done = statuses.iter().filter(|status| **status == 200).count();
    assert!((32..=80).contains(&done), "{statuses:?}");
    assert!(statuses.iter().all(|s| matches!(s, 200 | 409 | 429 | 503)), "{statuses:?}");
    assert_eq!(sandbox.exec("echo room again").stdout, "room again\n");
}
