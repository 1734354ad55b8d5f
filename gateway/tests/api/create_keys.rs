//! `Idempotency-Key` of a create.

use crate::client::Answer;
use crate::keys::tenant;
use crate::world::{World, eventually};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

impl World {
    fn create_with_key(&self, key: &str, body: &Value) -> Answer {
        self.client().with("Idempotency-Key", key).post("/api/sandboxes", body)
    }
}

fn id(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json["data"]["id"].as_str().unwrap().to_owned()
}

#[test]
fn the_same_request_makes_one_sandbox() {
    let mut world = World::new();
    let body = json!({"name": "x", "labels": {"a": "b"}, "ttlSeconds": 600});
    let ids: Vec<String> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| id(&world.create_with_key("k1", &body)))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(world.runtime.ids(), [ids[0].clone()]);
    world.stop(Signal::SIGKILL);
    world.start();
    let same =
        json!({"labels": {"a": "b"}, "ttlSeconds": 600, "image": "code", "cpu": 1, "name": "x", "other": 1});
    assert_eq!(id(&world.create_with_key("k1", &same)), ids[0], "defaults and unknown fields do not count");
    assert_ne!(id(&world.create_with_key("k2", &body)), ids[0]);
    let other = world.create_with_key("k1", &json!({"name": "y"}));
    assert_eq!((other.status, other.error()), (409, "Idempotency-Key: was used with another request"));
    assert_eq!(world.client().delete(&format!("/api/sandboxes/{}", ids[0])).status, 200);
    let gone = world.create_with_key("k1", &body);
    assert_eq!((gone.status, gone.error().contains("deleted")), (409, true), "{gone:?}");
    let wrong = world.client().with("Idempotency-Key", "a b").post("/api/sandboxes", &body);
    assert_eq!((wrong.status, wrong.error().starts_with("Idempotency-Key: ")), (400, true));
}

#[test]
fn a_key_of_another_organisation_is_another_key() {
    let world = World::new();
    let body = json!({"name": "x"});
    let mine = id(&world.create_with_key("k", &body));
    let other = tenant(&world, "acme", &[]).with("Idempotency-Key", "k");
    assert_ne!(id(&other.post("/api/sandboxes", &body)), mine);
}

#[test]
fn the_key_of_a_create_that_failed_is_free_again() {
    let world = World::new();
    let body = json!({"name": "x"});
    world.runtime.refuse(Some("create"));
    assert_eq!(world.create_with_key("k", &body).status, 500);
    world.runtime.refuse(None);
    let made = id(&world.create_with_key("k", &body));
    assert_eq!(id(&world.create_with_key("k", &body)), made);
}

/// Nobody who waits for the create gets what is taken away, or is told that it was deleted.
#[test]
fn who_waits_for_a_create_that_fails_makes_another_or_fails_too() {
    let world = World::new();
    let body = json!({"name": "x", "image": "full"});
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| world.create_with_key("k", &body))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer.status == 503), "{answers:?}");
    assert_eq!(world.client().get("/api/sandboxes").json["meta"]["total"], 0);
    assert!(world.runtime.ids().is_empty());
}

/// With a key, or answered at once: somebody may ask for it, so the next start makes it.
#[test]
fn a_create_that_a_kill_cuts_is_finished_where_it_was_promised() {
    let mut world = World::new();
    let body = json!({"name": "x", "image": "late"});
    let client = world.client().with("Idempotency-Key", "k");
    let mut stream = client.connect();
    std::io::Write::write_all(
        &mut stream,
        &client.text("POST", "/api/sandboxes", body.to_string().as_bytes()),
    )
    .unwrap();
    let told = world.client().post("/api/sandboxes", &json!({"name": "x", "image": "late", "sync": false}));
    let told = id(&told);
    eventually("both creates begin", || world.runtime.ids().len() == 2);
    world.stop(Signal::SIGKILL);
    world.start();
    let ids = world.runtime.ids();
    let made = id(&world.create_with_key("k", &body));
    assert!(made != told && ids.contains(&made), "the same id, whatever was left of it");
    eventually("both run", || world.runtime.running().values().all(|(launch, _)| *launch == 2));
    eventually("both answer", || [&told, &made].into_iter().all(|id| world.run(id, "x").status == 200));
    assert_eq!(world.runtime.ids().len(), 2);
}
