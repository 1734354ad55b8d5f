//! Crashes in the middle of work: under commands, under creates, under deletes.

use bulkhead_tests::eventually::within;
use bulkhead_tests::{Server, eventually, host};
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How long a client tries again what fails while halves are killed every few seconds.
const BETWEEN_CRASHES: Duration = Duration::from_secs(60);

/// An attached command belongs to its connection, which ends with the gateway.
#[test]
fn a_command_ends_with_its_gateway() {
    let server = Server::start();
    let sandbox = server.create();
    std::thread::scope(|scope| {
        let path = format!("/api/sandboxes/{}/exec", sandbox.id());
        let headers = [("X-API-Key", server.client().key())];
        let body = r#"{"command":"touch /tmp/begun; exec sleep 98989"}"#;
        let client = server.client();
        let command = scope.spawn(move || client.try_send("POST", &path, &headers, Some(body)));
        eventually("the command runs", || {
            if sandbox.exec("test -e /tmp/begun").code == 0 { Ok(()) } else { Err("not yet".to_owned()) }
        });
        server.kill_half("gateway");
        assert!(command.join().expect("the client").is_err(), "an answer of a gateway that was killed");
    });
    eventually("the command is gone", || {
        let left: Vec<_> = sandbox.processes().into_iter().filter(|p| p.command.contains("98989")).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(sandbox.exec("echo goes on").stdout, "goes on\n");
}

/// Clients create and delete without pause while both halves are killed again and again: whatever a client was
/// told stays true, and in the end nothing is left.
#[test]
fn creates_and_deletes_under_fire() {
    let server = Server::start();
    // After each crash in a row the supervisor waits longer before it starts the half again, up to 5 s.
    let rounds = if std::env::var_os("BULKHEAD_TEST_LONG").is_some() { 40 } else { 12 };
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3).map(|_| scope.spawn(|| churn(&server, &stop))).collect();
        for round in 0..rounds {
            let word = if round % 2 == 0 { "runtime" } else { "gateway" };
            std::thread::sleep(Duration::from_millis(37 * (round % 7)));
            host::kill9(server.half(word).pid);
            server.wait_healthy();
        }
        stop.store(true, Ordering::Relaxed);
        let created: usize = clients.into_iter().map(|client| client.join().expect("the client")).sum();
        assert!(created > 0, "no create succeeded between two crashes");
    });
}

/// Creates and deletes until told to stop; how many creates were acknowledged.
fn churn(server: &Server, stop: &AtomicBool) -> usize {
    let key = [("X-API-Key", server.client().key())];
    let mut acknowledged = 0;
    while !stop.load(Ordering::Relaxed) {
        let body = json!({"name": "churn"}).to_string();
        let Ok(answer) = server.client().try_send("POST", "/api/sandboxes", &key, Some(&body)) else {
            continue;
        };
        if answer.status != 201 {
            assert!(answer.status >= 500, "{}", answer.text());
            continue;
        }
        acknowledged += 1;
        let id = answer.data()["id"].as_str().expect("an id").to_owned();
        let path = format!("/api/sandboxes/{id}");
        within(BETWEEN_CRASHES, "an acknowledged sandbox is known", || {
            match server.client().try_send("GET", &path, &key, None) {
                Ok(found) if found.status == 200 => Ok(()),
                Ok(other) => Err(other.text()),
                Err(e) => Err(e.to_string()),
            }
        });
        within(BETWEEN_CRASHES, "it can be deleted", || {
            match server.client().try_send("DELETE", &path, &key, None) {
                Ok(done) if matches!(done.status, 200 | 404) => Ok(()),
                Ok(other) => Err(other.text()),
                Err(e) => Err(e.to_string()),
            }
        });
    }
    acknowledged
}
