//! The API over TLS: plain requests, events and WebSockets; certificates that change; clients that speak something else.

use crate::client::{Answer, Stream};
use crate::pty_socket::upgrades;
use crate::world::{World, eventually};
use serde_json::json;
use std::io::{Read, Write};

const TAKEN: &str = "the configuration was read again";
const KEPT: &str = "the configuration stays as it was";

#[test]
fn requests_events_and_sockets_go_over_tls() {
    let world = World::with_tls();
    let (id, tty) = (world.sandbox("code"), world.sandbox("tty"));
    assert_eq!(world.run(&id, "hello").status, 200);
    let events =
        world.client().post(&format!("/api/sandboxes/{id}/exec-stream"), &json!({"command": "hello"}));
    assert_eq!(events.status, 200, "{events:?}");
    assert!(events.head.contains("text/event-stream"), "{}", events.head);
    let client = world.client();
    let mut socket = client.stream().unwrap();
    assert!(upgrades(&mut *socket, &client, &format!("/api/sandboxes/{tty}/pty")));
    assert!(world.scrape().contains("bulkhead_gateway_certificate_ends_seconds 4133"), "{}", world.scrape());
}

#[test]
fn who_speaks_no_tls_gets_no_answer_and_is_counted() {
    let world = World::with_tls();
    let mut plain = world.client().connect();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    // An alert of TLS, or the end.
    drop(plain.read_to_end(&mut answer));
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    eventually("it is counted", || world.scrape().contains("bulkhead_gateway_handshakes_failed_total 1"));
}

#[test]
fn a_new_certificate_is_taken_over_and_open_connections_go_on() {
    let world = World::with_tls();
    let client = world.client();
    let mut open = client.stream().unwrap();
    let request = b"GET /healthz HTTP/1.1\r\nHost: t\r\n\r\n";
    open.write_all(request).unwrap();
    assert!(begins_well(&mut *open));
    let new = world.operator.certify(2101);
    world.reload(TAKEN);
    assert!(world.client().stream().unwrap().write_all(request).is_err(), "the old certificate is not shown");
    assert_eq!(trusting(&world, &new).status, 200);
    open.write_all(request).unwrap();
    assert!(begins_well(&mut *open), "a connection of before goes on");
}

#[test]
fn a_certificate_that_is_not_good_changes_nothing() {
    let world = World::with_tls();
    let good = world.client();
    world.operator.certify(2021);
    world.reload("tls-certificate: ended on Dec 31");
    assert_eq!(good.get("/healthz").status, 200);
    world.operator.configure("{");
    world.reload(KEPT);
    eventually("every line is told", || world.log().contains("stays as it was: and something else"));
    assert_eq!(good.get("/healthz").status, 200);
}

fn trusting(world: &World, certificate: &str) -> Answer {
    world.stranger().trusting(certificate).get("/healthz")
}

fn begins_well(stream: &mut dyn Stream) -> bool {
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap();
    answer[..length].starts_with(b"HTTP/1.1 200 ")
}
