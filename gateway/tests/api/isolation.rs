//! What is in force for a sandbox: rebuilt from what the runtime says, under the organisation that asks.

use crate::world::{World, eventually};
use serde_json::json;

fn wall<'a>(data: &'a serde_json::Value, name: &str) -> &'a serde_json::Value {
    let found = data["walls"].as_array().unwrap().iter().find(|wall| wall["wall"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {data}"))
}

#[test]
fn a_report_is_rebuilt_and_nothing_holds_that_was_not_found() {
    let world = World::new();
    let id = world.sandbox("code");
    let answer = world.client().get(&format!("/api/sandboxes/{id}/isolation"));
    assert_eq!(answer.status, 200, "{answer:?}");
    let data = &answer.json["data"];
    assert_eq!(data["holds"], false);
    assert_eq!(data["securityModules"], json!(["landlock"]));
    assert_eq!(data["walls"].as_array().unwrap().len(), 9, "each kind, said or not");
    let name = "n".repeat(48);
    let item = |found, holds| json!({"name": name, "wanted": "1", "found": found, "holds": holds});
    let expected = json!({"wall": "disk", "holds": true, "items": [item(Some("1"), true)]});
    assert_eq!(wall(data, "disk"), &expected);
    assert_eq!(wall(data, "masks")["holds"], false);
    assert_eq!(wall(data, "masks")["items"], json!([item(Some("1"), true), item(Some("2"), false)]));
    assert_eq!(wall(data, "ids"), &json!({"wall": "ids", "holds": false, "items": [item(None, false)]}));
    assert_eq!(wall(data, "filter"), &json!({"wall": "filter", "holds": false, "items": []}));
}

#[test]
fn every_answer_is_read_anew() {
    let world = World::new();
    let id = world.sandbox("code");
    for _ in 0..5 {
        assert_eq!(world.client().get(&format!("/api/sandboxes/{id}/isolation")).status, 200);
    }
    assert_eq!(world.runtime.calls().iter().filter(|call| *call == "inspect").count(), 5);
}

#[test]
fn few_look_at_once_and_everybody_gets_a_turn() {
    let world = World::new();
    let ids: Vec<_> = (0..3).map(|_| world.sandbox("code")).collect();
    std::thread::scope(|scope| {
        for number in 0..12 {
            let (client, id) = (world.client(), &ids[number % ids.len()]);
            scope.spawn(move || {
                assert_eq!(client.get(&format!("/api/sandboxes/{id}/isolation")).status, 200);
            });
        }
    });
    assert!((1..=2).contains(&world.runtime.most_looks()), "{}", world.runtime.most_looks());
}

#[test]
fn what_does_not_run_is_a_conflict_and_what_does_not_exist_is_not_found() {
    let world = World::new();
    let id = world.sandbox("code");
    let path = format!("/api/sandboxes/{id}/isolation");
    world.runtime.kill(&id);
    eventually("the gateway knows", || world.status(&id) == "killed");
    let answer = world.client().get(&path);
    assert_eq!(
        (answer.status, &answer.json),
        (409, &json!({"error": "the sandbox was killed; its processes are gone; start launches it again"}))
    );
    assert_eq!(world.client().post(&path, &json!({})).status, 405);
    assert_eq!(world.stranger().get(&path).status, 401);
    let nobody = format!("/api/sandboxes/{}/isolation", "a".repeat(30));
    assert_eq!(world.client().get(&nobody).status, 404);
}
