//! What a hangup changes while everything goes on.

use crate::keys::tenant;
use crate::world::{World, eventually};
use serde_json::json;
use std::io::{Read, Write};

const TAKEN: &str = "the configuration was read again";

#[test]
fn a_hangup_changes_registration_quotas_and_the_pool() {
    let world = World::new();
    let order = json!({"name": "n", "email": "n@example.org"});
    assert_eq!(world.client().post("/api/register", &order).status, 404);
    let client = tenant(&world, "acme", &[]);
    let id =
        client.post("/api/sandboxes", &json!({"name": "x"})).json["data"]["id"].as_str().unwrap().to_owned();
    // It goes on through all of it.
    let mut stream = client.connect();
    let body = json!({"command": "hang", "timeout": 100}).to_string();
    let path = format!("/api/sandboxes/{id}/exec-stream");
    stream.write_all(&client.text("POST", &path, body.as_bytes())).unwrap();
    stream.read_exact(&mut [0; 12]).unwrap();
    world.operator.configure(r#"{"register":true,"streams":1,"pool":2}"#);
    world.reload(TAKEN);
    assert_eq!(world.client().post("/api/register", &order).status, 201);
    let refused = client.post(&path, &json!({"command": "hello"}));
    assert_eq!((refused.status, refused.error()), (429, "quota: at most 1 streams"));
    // The first organisation has a quota of its own.
    let own = world.sandbox("code");
    let path = format!("/api/sandboxes/{own}/exec-stream");
    assert_eq!(world.client().post(&path, &json!({"command": "hello"})).status, 200);
    eventually("two are made ahead", || world.runtime.running().len() == 4);
    world.operator.configure("{}");
    world.reload(TAKEN);
    eventually("they are taken away", || world.runtime.running().len() == 2);
    stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
    let mut rest = Vec::new();
    assert!(stream.read_to_end(&mut rest).is_err(), "the stream goes on");
}
