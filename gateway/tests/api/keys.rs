//! Users and keys of one's own organisation, and the door for new ones.

use crate::client::Client;
use crate::world::World;
use bulkhead_gateway::admin::{KeyOrder, client as admin};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// A client of an organisation of its own, with these scopes.
pub(crate) fn tenant(world: &World, org: &str, scopes: &[&str]) -> Client {
    let run_dir = world.run_dir();
    if !admin::list_orgs(&run_dir).unwrap().iter().any(|row| row.name == org) {
        admin::create_org(&run_dir, org).unwrap();
    }
    let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
    let order = KeyOrder { org: org.to_owned(), name: "test".to_owned(), scopes, ..KeyOrder::default() };
    world.stranger().with("X-API-Key", &admin::create_key(&run_dir, &order).unwrap().key)
}

fn key_of(world: &World, made: &Value) -> Client {
    world.stranger().with("X-API-Key", made["plainKey"].as_str().unwrap())
}

fn names(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn a_key_is_made_shown_switched_and_deleted() {
    let mut world = World::new();
    let client = world.client();
    let me = client.get("/api/users/me").json;
    assert_eq!(names(&me), ["createdAt", "email", "id", "imageUrl", "name", "orgs"]);
    assert_eq!(
        (&me["email"], &me["imageUrl"], &me["orgs"][0]["name"]),
        (&Value::Null, &json!(""), &json!("default"))
    );
    let users = client.get("/api/orgs/users").json;
    assert_eq!((&users["status"], &users["data"][0]["id"]), (&json!("success"), &me["id"]));

    let made = client.post("/api/orgs/apikeys", &json!({"keyName": "CI/CD \u{e9}", "x": 1}));
    assert_eq!(made.status, 200, "{made:?}");
    let made = made.json;
    assert_eq!(names(&made), ["createdAt", "expiresIn", "keyId", "keyName", "orgId", "plainKey", "scopes"]);
    assert_eq!((&made["expiresIn"], &made["scopes"]), (&json!("never"), &json!(["*"])));
    assert_eq!(made["orgId"], me["orgs"][0]["id"]);
    let (second, id) = (key_of(&world, &made), made["keyId"].as_str().unwrap());
    assert_eq!(second.get("/api/sandboxes").status, 200);
    let listed = client.get("/api/orgs/apikeys").json;
    let row = &listed[0];
    assert_eq!(
        names(row),
        ["createdAt", "createdBy", "id", "isActive", "lastUsedAt", "name", "orgId", "scopes", "updatedAt"]
    );
    assert_eq!((&row["id"], &row["createdBy"], &row["isActive"]), (&json!(id), &me["id"], &json!(true)));
    assert!(row["lastUsedAt"].is_string() && listed[1]["scopes"] == json!(["*", "admin"]), "{listed}");
    assert!(!listed.to_string().contains(made["plainKey"].as_str().unwrap()));

    let path = format!("/api/orgs/apikeys/{id}");
    let activate = |body: Value| client.post(&format!("{path}/activate"), &body);
    assert_eq!(
        activate(json!({"isActive": false})).json,
        json!({"status": "success", "message": "key deactivated"})
    );
    assert_eq!(second.get("/api/sandboxes").status, 401);
    assert_eq!(client.get("/api/orgs/apikeys").json[0]["isActive"], false);
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(second.get("/api/sandboxes").status, 401, "it is remembered");
    assert_eq!(activate(json!({})).error(), "isActive: is required");
    assert_eq!(activate(json!({"isActive": null})).status, 400);
    let empty = client.send("POST", &format!("{path}/activate"), b"");
    assert_eq!((empty.status, second.get("/api/sandboxes").status), (400, 401));
    assert_eq!(activate(json!({"isActive": true})).status, 200);
    assert_eq!(second.get("/api/sandboxes").status, 200);
    assert_eq!(activate(json!({"isActive": "yes"})).error(), "isActive: must be true or false");
    let touched = client.send("PATCH", &format!("{path}/touch"), b"");
    assert_eq!((touched.status, &touched.json["data"]), (200, &Value::Null));
    assert!(touched.json.as_object().unwrap().contains_key("data"));
    assert_eq!(client.delete(&path).json, json!({"status": "success", "message": "key deleted"}));
    assert_eq!((second.get("/api/sandboxes").status, client.delete(&path).status), (401, 404));
    assert_eq!(client.get("/api/orgs/apikeys").json.as_array().unwrap().len(), 1);
}

#[test]
fn wrong_orders_for_keys_name_their_field() {
    let world = World::new();
    let client = world.client();
    let make = |body: Value| client.post("/api/orgs/apikeys", &body);
    for name in [json!(null), json!(""), json!(7), json!("a\nb"), json!("x".repeat(101)), json!("\u{7f}")] {
        let answer = make(json!({"keyName": name}));
        assert!(answer.status == 400 && answer.error().starts_with("keyName: "), "{name} {answer:?}");
    }
    for scopes in [json!("*"), json!([]), json!(["root"]), json!([1]), json!({})] {
        let answer = make(json!({"keyName": "x", "scopes": scopes}));
        assert!(answer.status == 400 && answer.error().starts_with("scopes: "), "{scopes} {answer:?}");
    }
    for seconds in [json!(0), json!(-1), json!(1.5), json!(1e18), json!("60")] {
        let answer = make(json!({"keyName": "x", "expiresInSeconds": seconds}));
        assert!(
            answer.status == 400 && answer.error().starts_with("expiresInSeconds: "),
            "{seconds} {answer:?}"
        );
    }
    assert_eq!(make(json!({"keyName": "x".repeat(100)})).status, 200);
}

#[test]
fn a_key_does_what_its_scopes_say_and_gives_no_more() {
    let world = World::new();
    let id = world.sandbox("code");
    let make = |scopes: Value| {
        let made = world.client().post("/api/orgs/apikeys", &json!({"keyName": "x", "scopes": scopes}));
        key_of(&world, &made.json)
    };
    let (reads, runs, keys) =
        (make(json!(["sandboxes:read"])), make(json!(["exec"])), make(json!(["keys", "exec"])));
    assert_eq!(reads.get("/api/sandboxes").status, 200);
    let made = reads.post("/api/sandboxes", &json!({"name": "x"}));
    assert_eq!((made.status, made.error()), (403, "this key lacks the scope sandboxes:write"));
    let exec = format!("/api/sandboxes/{id}/exec");
    assert_eq!(reads.post(&exec, &json!({"command": "x"})).error(), "this key lacks the scope exec");
    assert_eq!(runs.post(&exec, &json!({"command": "x"})).status, 200);
    assert_eq!(runs.get("/api/sandboxes").error(), "this key lacks the scope sandboxes:read");
    assert_eq!(runs.get("/api/orgs/apikeys").error(), "this key lacks the scope keys");
    assert_eq!(runs.get("/api/users/me").status, 200);
    let give = |scopes: Value| keys.post("/api/orgs/apikeys", &json!({"keyName": "y", "scopes": scopes}));
    assert_eq!(give(json!(["*"])).error(), "scopes: a key cannot give what it has not");
    assert_eq!(give(json!(["sandboxes:read"])).status, 403);
    assert_eq!(give(json!(["admin"])).error(), "scopes: only the host's operator gives admin");
    assert_eq!(give(json!(null)).json["scopes"], json!(["exec", "keys"]));
    assert_eq!(keys.get("/api/admin/leaks").error(), "this key lacks the scope admin");
    let listed = world.client().get("/api/orgs/apikeys").json;
    let first = listed.as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
    let switch = |on: Value| {
        keys.post(&format!("/api/orgs/apikeys/{first}/activate"), &json!({"isActive": on})).status
    };
    assert_eq!(keys.delete(&format!("/api/orgs/apikeys/{first}")).status, 403);
    assert_eq!((switch(json!(true)), world.client().get("/api/sandboxes").status), (403, 200));
    let short = keys.post("/api/orgs/apikeys", &json!({"keyName": "z", "expiresInSeconds": 60})).json;
    assert_eq!(short["expiresIn"], "60 seconds");
    let short = key_of(&world, &short);
    let longer = short.post("/api/orgs/apikeys", &json!({"keyName": "z", "expiresInSeconds": 600}));
    assert_eq!((longer.status, longer.error().split(':').next()), (403, Some("expiresInSeconds")));
    let same = short.post("/api/orgs/apikeys", &json!({"keyName": "z"})).json;
    assert!(same["expiresIn"].as_str().unwrap().ends_with(" seconds"), "{same}");
}

#[test]
fn another_organisations_key_is_no_key() {
    let world = World::new();
    let (one, two) = (tenant(&world, "one", &[]), tenant(&world, "two", &[]));
    let id = one.get("/api/orgs/apikeys").json[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(one.get("/api/orgs/apikeys").json.as_array().unwrap().len(), 1);
    for (method, tail, body) in
        [("DELETE", "", ""), ("POST", "/activate", r#"{"isActive":false}"#), ("PATCH", "/touch", "")]
    {
        let send = |id: &str| two.send(method, &format!("/api/orgs/apikeys/{id}{tail}"), body.as_bytes());
        let (foreign, unknown) = (send(&id), send("aaaaaaaa"));
        assert_eq!((foreign.status, &foreign.text), (404, &unknown.text), "{method}{tail}");
    }
    assert_eq!(one.get("/api/orgs/apikeys").json[0]["isActive"], true);
    admin::revoke_key(&world.run_dir(), &id).unwrap();
    assert_eq!(one.get("/api/orgs/apikeys").status, 401);
    let other = tenant(&world, "one", &[]);
    let again = other.post(&format!("/api/orgs/apikeys/{id}/activate"), &json!({"isActive": true}));
    assert_eq!((again.status, again.error()), (409, "the key was revoked for good"));
    assert_eq!(one.get("/api/orgs/apikeys").status, 401);
}

#[test]
fn registration_is_a_door_that_is_shut_unless_it_is_opened() {
    let body = json!({"name": "Ada", "email": "ada@example.com"});
    let world = World::new();
    let shut = world.stranger().post("/api/register", &body);
    assert_eq!((shut.status, shut.error()), (404, "no such route"));
    drop(world);
    let world = World::with_registration();
    let made = world.stranger().post("/api/register", &body);
    assert_eq!(made.status, 201, "{made:?}");
    let data = &made.json["data"];
    assert_eq!((&data["user"]["name"], &data["user"]["email"]), (&json!("Ada"), &json!("ada@example.com")));
    let ada = key_of(&world, &data["apiKey"]);
    assert_eq!(ada.get("/api/users/me").json["orgs"][0]["id"], data["org"]["id"]);
    assert_eq!(ada.get("/api/admin/leaks").status, 403);
    assert_eq!(world.stranger().post("/api/register", &json!({"name": "x"})).status, 400);
    let many = (0..20).filter(|_| world.stranger().post("/api/register", &body).status == 201).count();
    assert!(many < 10, "{many}");
}
