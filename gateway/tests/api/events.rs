//! What happens in an organisation: told once, to nobody else, in order, from any offset on.

use crate::client::{Client, Stream};
use crate::keys::tenant;
use crate::world::{World, eventually};
use bulkhead_gateway::admin::client as admin;
use serde_json::json;
use std::io::Read;

/// Follows events.
struct Follower {
    stream: Box<dyn Stream>,
    text: String,
}

impl Follower {
    fn begin(client: &Client, query: &str) -> Self {
        let mut stream = client.stream().unwrap();
        stream.write_all(&client.text("GET", &format!("/api/events{query}"), b"")).unwrap();
        let mut follower = Self { stream, text: String::new() };
        follower.until("\r\n\r\n");
        assert!(follower.text.starts_with("HTTP/1.1 200 "), "{}", follower.text);
        assert!(follower.text.to_ascii_lowercase().contains("content-type: text/event-stream"));
        follower
    }

    /// Everything so far, once `wanted` is part of it.
    fn until(&mut self, wanted: &str) -> &str {
        let mut buffer = [0; 4096];
        while !self.text.contains(wanted) {
            let count = self.stream.read(&mut buffer).unwrap();
            assert!(count > 0, "no {wanted} in {}", self.text);
            self.text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
        }
        &self.text
    }

    fn kinds(&self) -> Vec<&str> {
        self.text.lines().filter_map(|line| line.strip_prefix("event:")).collect()
    }

    fn last_id(&self) -> u64 {
        let ids = self.text.lines().filter_map(|line| line.strip_prefix("id:"));
        ids.map(|id| id.parse().unwrap()).max().unwrap()
    }
}

#[test]
fn the_life_of_a_sandbox_is_told_in_order_and_resumed_anywhere() {
    let mut world = World::new();
    let client = world.client();
    let mut all = Follower::begin(&client, "");
    let id = world.sandbox("code");
    world.run(&id, "hello");
    let step = |name: &str| client.post(&format!("/api/sandboxes/{id}/{name}"), &json!({})).status;
    for name in ["freeze", "thaw", "sleep", "wake"] {
        assert_eq!(step(name), 200, "{name}");
    }
    world.runtime.kill(&id);
    all.until("sandbox.killed");
    assert_eq!(step("start"), 200);
    assert_eq!(client.delete(&format!("/api/sandboxes/{id}")).status, 200);
    all.until("sandbox.deleted");
    let lived = [
        "sandbox.created",
        "execution.ended",
        "sandbox.frozen",
        "sandbox.thawed",
        "sandbox.slept",
        "sandbox.woken",
        "sandbox.killed",
        "sandbox.started",
        "sandbox.deleted",
    ];
    assert_eq!(all.kinds(), lived, "{}", all.text);
    assert!(all.text.contains(&format!(r#""sandboxId":"{id}","end":"exited"}}"#)), "{}", all.text);
    let first = all.text.lines().find_map(|line| line.strip_prefix("id:")).unwrap();
    let mut rest = Follower::begin(&client.clone().with("Last-Event-ID", first), "");
    rest.until("sandbox.deleted");
    assert_eq!(rest.kinds(), lived[1..]);
    // Another process has none of it, and says so.
    let last = all.last_id();
    world.stop(nix::sys::signal::Signal::SIGTERM);
    world.start();
    let mut resumed = Follower::begin(&client, &format!("?from={last}"));
    resumed.until("event:gap");
    world.sandbox("code");
    resumed.until("sandbox.created");
    assert!(resumed.last_id() > last, "offsets rise across restarts");
}

#[test]
fn nothing_of_another_organisation_is_told_and_a_key_that_ends_ends_its_streams() {
    let world = World::new();
    let (one, other) = (tenant(&world, "one", &[]), tenant(&world, "other", &[]));
    let mut theirs = Follower::begin(&other, "");
    let mut ours = Follower::begin(&one, "");
    let id =
        one.post("/api/sandboxes", &json!({"name": "x"})).json["data"]["id"].as_str().unwrap().to_owned();
    ours.until(&id);
    let key = other.post("/api/orgs/apikeys", &json!({"keyName": "second"})).json;
    let key = key["keyId"].as_str().unwrap().to_owned();
    theirs.until("key.created");
    assert_eq!(theirs.kinds(), ["key.created"], "{}", theirs.text);
    assert!(!theirs.text.contains(&id) && theirs.text.contains(&key));
    assert_eq!(tenant(&world, "one", &["images:read"]).get("/api/events").status, 403);
    assert_eq!(one.get("/api/events?from=x").status, 400);
    assert_eq!(world.stranger().get("/api/events").status, 401);
    let orgs = admin::list_orgs(&world.run_dir()).unwrap();
    let org = &orgs.iter().find(|org| org.name == "one").unwrap().id;
    let keys = admin::list_keys(&world.run_dir()).unwrap();
    for row in keys.iter().filter(|row| row.org == *org) {
        admin::revoke_key(&world.run_dir(), &row.id).unwrap();
    }
    // It ends, cut in the middle of its body.
    let mut rest = Vec::new();
    drop(ours.stream.read_to_end(&mut rest));
    assert!(String::from_utf8_lossy(&rest).contains("key.revoked"));
}

#[test]
fn a_key_is_told_of_what_its_scopes_let_it_look_at() {
    let world = World::new();
    let all = tenant(&world, "one", &[]);
    let mut every = Follower::begin(&all, "");
    let mut sandboxes = Follower::begin(&tenant(&world, "one", &["sandboxes:read"]), "");
    let key = all.post("/api/orgs/apikeys", &json!({"keyName": "second"})).json;
    every.until(key["keyId"].as_str().unwrap());
    assert_eq!(all.post("/api/sandboxes", &json!({"name": "x"})).status, 201);
    sandboxes.until("sandbox.created");
    every.until("sandbox.created");
    assert!(!sandboxes.text.contains("event:key."), "{}", sandboxes.text);
    assert_eq!(sandboxes.last_id(), every.last_id(), "offsets are the same for all");
}

#[test]
fn those_who_follow_have_a_limit() {
    let world = World::new();
    let client = tenant(&world, "one", &[]);
    let followers: Vec<_> = (0..64).map(|_| Follower::begin(&client, "")).collect();
    let refused = client.get("/api/events");
    assert_eq!(refused.status, 429);
    assert_eq!(refused.error(), "at most 64 connections follow the events of an organisation");
    let mut theirs = Follower::begin(&world.client(), "");
    drop(followers);
    eventually("their places are free", || {
        let mut stream = client.stream().unwrap();
        stream.write_all(&client.text("GET", "/api/events", b"")).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        head == *b"HTTP/1.1 200"
    });
    world.sandbox("code");
    theirs.until("sandbox.created");
}
