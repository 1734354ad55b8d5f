//! The audit log, and the look for what leaks.

use crate::keys::tenant;
use crate::world::{World, eventually};
use bulkhead_gateway::admin::client as admin;
use bulkhead_protocol::runtime::Life;
use serde_json::{Value, json};

fn lines(world: &World) -> Vec<Value> {
    let text = std::fs::read_to_string(world.state_dir().join("gateway/audit.log")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until a line has this action; gives the last of them.
fn line(world: &World, action: &str) -> Value {
    let mut found = None;
    eventually(action, || {
        found = lines(world).into_iter().rfind(|line| line["action"] == action);
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn what_changes_something_is_written_down_without_its_content() {
    let world = World::new();
    let client = tenant(&world, "acme", &[]);
    let me = client.get("/api/users/me").json;
    let key = client.get("/api/orgs/apikeys").json[0]["id"].clone();
    let made =
        client.post("/api/sandboxes", &json!({"name": "secret-name", "envVars": {"A": "secret-value"}}));
    let id = made.json["data"]["id"].clone();
    let create = line(&world, "POST /sandboxes");
    assert_eq!((&create["org"], &create["user"], &create["key"]), (&me["orgs"][0]["id"], &me["id"], &key));
    assert_eq!((&create["object"], &create["status"]), (&id, &json!(201)));
    assert!(create["time"].as_str().unwrap().ends_with('Z') && create["peer"].is_string(), "{create}");
    assert!(made.head.contains(create["requestId"].as_str().unwrap()), "{}", made.head);
    let path = format!("/api/sandboxes/{}/exec", id.as_str().unwrap());
    client.post(&path, &json!({"command": "secret-command"}));
    assert_eq!(line(&world, "POST /sandboxes/{id}/exec")["object"], id);
    let made = client.post("/api/orgs/apikeys", &json!({"keyName": "secret-key-name"})).json;
    assert_eq!(line(&world, "POST /orgs/apikeys")["object"], made["keyId"]);
    admin::revoke_key(&world.run_dir(), made["keyId"].as_str().unwrap()).unwrap();
    let revoked = line(&world, "key revoke");
    assert_eq!((&revoked["user"], &revoked["object"]), (&json!("host"), &made["keyId"]));
    let text = std::fs::read_to_string(world.state_dir().join("gateway/audit.log")).unwrap();
    assert!(!text.contains("secret") && !text.contains(made["plainKey"].as_str().unwrap()), "{text}");
    assert!(!lines(&world).iter().any(|line| line["action"].as_str().unwrap().starts_with("GET")));
    assert!(world.scrape().contains("bulkhead_gateway_audit_lines_total"));
}

/// What the server did by itself, with what came of it.
#[test]
fn what_happens_by_itself_is_written_down_once_it_has_happened_or_failed() {
    let world = World::new();
    let idle = |_| world.id(&json!({"idleTimeoutSeconds": 5}));
    let [sleeps, stays] = [(); 2].map(idle);
    let path = format!("/api/sandboxes/{stays}/commands/run");
    assert_eq!(world.client().post(&path, &json!({"command": "hold"})).status, 200);
    world.runtime.refuse(Some("stop"));
    let failed = line(&world, "auto-sleep");
    assert_eq!((&failed["object"], &failed["status"]), (&json!(sleeps), &json!(500)), "{failed}");
    assert!(world.runtime.running().contains_key(&sleeps), "the line is true");
    let frozen = line(&world, "auto-freeze");
    assert_eq!((&frozen["object"], &frozen["status"]), (&json!(stays), &json!(200)), "{frozen}");
    assert_eq!(world.runtime.running()[&stays], (1, Life::Frozen));
    world.runtime.refuse(Some("create"));
    let made = world.client().post("/api/sandboxes", &json!({"name": "x"}));
    assert_eq!(made.status, 500);
    let gone = line(&world, "delete failed create");
    assert_eq!((&gone["org"], &gone["status"]), (&failed["org"], &json!(200)), "{gone}");
    assert_eq!(world.runtime.ids().len(), 2);
}

#[test]
fn a_line_cannot_be_forged_and_a_flood_is_counted() {
    let world = World::new();
    let client = world.client().with("User-Agent", "a{\"forged\":1}");
    let forged = "%0d%0a%7b%22action%22:%22forged%22%7d%e2%80%ae";
    assert_eq!(client.delete(&format!("/api/sandboxes/{forged}")).status, 404);
    let found = line(&world, "DELETE /sandboxes/{id}");
    assert!(found["object"].as_str().unwrap().starts_with("%0d%0a%7b%22action%22"), "{found}");
    let stranger = world.stranger().with("X-API-Key", "bh_wrong");
    (0..200).for_each(|_| assert_eq!(stranger.get("/api/sandboxes").status, 401));
    line(&world, "GET /sandboxes");
    let failures = lines(&world).iter().filter(|line| line["status"] == 401).count();
    assert!((1..=42).contains(&failures), "{failures}");
    assert!(!lines(&world).iter().any(|line| line["action"] == "forged"));
}

#[test]
fn a_flood_of_refusals_of_one_organisation_is_cut_and_nobody_elses_lines_are() {
    let world = World::new();
    let (flood, other) = (tenant(&world, "flood", &[]), tenant(&world, "other", &[]));
    let path = format!("/api/sandboxes/{}", "a".repeat(30));
    (0..200).for_each(|_| assert_eq!(flood.delete(&path).status, 404));
    assert_eq!(other.delete(&format!("/api/sandboxes/{}", "b".repeat(30))).status, 404);
    eventually("the other's line", || lines(&world).iter().any(|line| line["object"] == "b".repeat(30)));
    let found = lines(&world).iter().filter(|line| line["object"] == "a".repeat(30)).count();
    assert!((1..=62).contains(&found), "{found}");
}

#[test]
fn what_nobody_claims_is_listed() {
    let world = World::new();
    let client = world.client();
    let leaks = || client.get("/api/admin/leaks").json["data"]["leaks"].clone();
    let id = world.sandbox("code");
    assert_eq!(leaks(), json!([]));
    let stray = "b".repeat(30);
    world.runtime.plant(&stray);
    world.runtime.leak();
    world.runtime.lose(&id);
    let expected = json!([
        {"kind": "disk", "name": stray}, {"kind": "mount", "name": "planted"},
        {"kind": "row", "name": id}, {"kind": "sandbox", "name": stray}
    ]);
    assert_eq!(leaks(), expected);
    let listed = admin::leaks(&world.run_dir()).unwrap();
    assert_eq!(listed.len(), 4);
    assert_eq!(tenant(&world, "acme", &[]).get("/api/admin/leaks").status, 403);
}
