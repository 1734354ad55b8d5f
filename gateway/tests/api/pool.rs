//! Sandboxes made ahead: taken once, seen by nobody before, gone when nobody wants them.

use crate::runtime::DIES;
use crate::world::{World, eventually};
use nix::sys::signal::Signal;
use serde_json::json;
use std::collections::BTreeSet;

fn filled(world: &World, size: usize) -> BTreeSet<String> {
    eventually("the pool is full", || world.runtime.running().len() == size);
    // The runtime has it a moment before the pool.
    std::thread::sleep(std::time::Duration::from_millis(100));
    world.runtime.ids().into_iter().collect()
}

#[test]
fn a_create_takes_one_and_nobody_sees_it_before() {
    let world = World::with_pool(2);
    let ahead = filled(&world, 2);
    assert_eq!(world.client().get("/api/sandboxes").json["meta"]["total"], 0);
    for id in &ahead {
        assert_eq!(world.status(id), "none");
        assert_eq!(world.run(id, "x").status, 404);
    }
    let body = json!({"name": "my.box", "labels": {"a": "b"}, "envVars": {"A": "b"}, "ttlSeconds": 600});
    let made = world.client().post("/api/sandboxes", &body);
    assert_eq!(made.status, 201, "{made:?}");
    let data = &made.json["data"];
    let id = data["id"].as_str().unwrap();
    assert!(ahead.contains(id), "one made ahead was taken");
    assert_eq!((&data["name"], &data["labels"]), (&json!("my.box"), &json!({"a": "b"})));
    assert!(data["expiresAt"].is_string() && data["createdAt"].is_string());
    assert_eq!(world.runtime.calls(), ["name"]);
    assert!(world.run(id, "show").json["data"]["stdout"].as_str().unwrap().contains(r#"["A","b"]"#));
    assert_eq!(filled(&world, 3).len(), 3, "another takes its place");
    assert_eq!(world.client().get("/api/sandboxes").json["data"], json!([data]));
}

#[test]
fn other_images_and_limits_are_made_anew() {
    let world = World::with_pool(1);
    let ahead = filled(&world, 1);
    for body in [json!({"name": "x", "image": "tty"}), json!({"name": "x", "mem": 2048})] {
        let made = world.client().post("/api/sandboxes", &body);
        assert_eq!(made.status, 201);
        assert!(!ahead.contains(made.json["data"]["id"].as_str().unwrap()));
    }
}

#[test]
fn one_that_cannot_be_named_is_destroyed_and_the_create_goes_on() {
    let world = World::with_pool(1);
    let ahead = filled(&world, 1);
    world.runtime.refuse(Some("name"));
    let made = world.client().post("/api/sandboxes", &json!({"name": "x"}));
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json["data"]["id"].as_str().unwrap();
    assert!(!ahead.contains(id));
    eventually("it is destroyed", || ahead.iter().all(|id| !world.runtime.ids().contains(id)));
    world.runtime.refuse(None);
    assert_eq!(world.run(id, "x").status, 200);
}

#[test]
fn one_that_dies_while_it_is_taken_is_destroyed_and_the_create_goes_on() {
    let world = World::with_pool(1);
    let ahead = filled(&world, 1);
    let made = world.client().post("/api/sandboxes", &json!({"name": DIES}));
    assert_eq!(made.status, 201, "{made:?}");
    let id = made.json["data"]["id"].as_str().unwrap();
    assert!(!ahead.contains(id), "the one that died is nobody's");
    assert_eq!(world.status(id), "running");
    eventually("it is destroyed", || ahead.iter().all(|id| !world.runtime.ids().contains(id)));
    assert_eq!(world.client().get("/api/sandboxes").json["meta"]["total"], 1);
}

#[test]
fn many_creates_at_once_take_each_one_once() {
    let world = World::with_pool(5);
    filled(&world, 5);
    let ids: BTreeSet<String> = std::thread::scope(|scope| {
        let create =
            || world.client().post("/api/sandboxes", &json!({"name": "x"})).json["data"]["id"].clone();
        let calls: Vec<_> = (0..30).map(|_| scope.spawn(create)).collect();
        calls.into_iter().map(|call| call.join().unwrap().as_str().unwrap().to_owned()).collect()
    });
    assert_eq!(ids.len(), 30);
    assert!(ids.iter().all(|id| world.run(id, "x").status == 200));
    filled(&world, 35);
}

#[test]
fn one_that_dies_is_replaced() {
    let world = World::with_pool(1);
    let ahead = filled(&world, 1);
    let dead = ahead.first().unwrap();
    world.runtime.kill(dead);
    eventually("another is there", || world.runtime.ids().len() == 1 && world.runtime.ids()[0] != *dead);
}

#[test]
fn what_nobody_took_goes_with_the_gateway() {
    let mut world = World::with_pool(3);
    let ahead = filled(&world, 3);
    world.stop(Signal::SIGKILL);
    world.start();
    eventually("the old ones are gone", || ahead.iter().all(|id| !world.runtime.ids().contains(id)));
    assert!(!world.log().contains("LEAK"), "they are no leak");
    filled(&world, 3);
    assert_eq!(world.stop(Signal::SIGTERM), Some(0));
    assert!(world.runtime.ids().is_empty(), "a gateway that closes leaves none");
    world.start();
}
