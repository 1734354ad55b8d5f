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
fn however_many_ask_the_runtime_is_asked_at_a_bounded_rate() {
    let world = World::new();
    let id = world.sandbox("code");
    let path = format!("/api/sandboxes/{id}/isolation");
    let before = std::time::Instant::now();
    let answers = 20;
    for _ in 0..answers {
        assert_eq!(world.client().get(&path).status, 200);
    }
    let asked = world.runtime.calls().iter().filter(|call| *call == "inspect").count();
    let most = 2 + usize::try_from(before.elapsed().as_millis() / 250).unwrap();
    assert!(asked <= most && most < answers, "{asked} of {most}");
    // Another launch is read anew, however soon.
    let step = |name: &str| world.client().post(&format!("/api/sandboxes/{id}/{name}"), &json!({})).status;
    assert_eq!((step("sleep"), step("wake")), (200, 200));
    assert_eq!(world.client().get(&path).status, 200);
    let again = world.runtime.calls().iter().filter(|call| *call == "inspect").count();
    assert_eq!(again, asked + 1);
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
