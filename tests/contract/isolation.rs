//! `GET /sandboxes/{id}/isolation`, an extension: shape, tenants, and what does not run.

use crate::UNKNOWN_ID;
use crate::organisations::tenant;
use bulkhead_tests::{Server, eventually, host};
use serde_json::json;

#[test]
fn every_wall_is_reported_once_with_its_items() {
    let server = Server::start();
    let sandbox = server.create();
    let data = server.client().get(&sandbox.path("/isolation")).expect(200).data();
    assert!(data["holds"].is_boolean() && data["securityModules"].is_array(), "{data}");
    let walls: Vec<_> =
        data["walls"].as_array().expect("walls").iter().map(|wall| wall["wall"].clone()).collect();
    let expected = [
        "namespaces",
        "ids",
        "privileges",
        "filter",
        "processLimits",
        "groupLimits",
        "disk",
        "mounts",
        "masks",
    ];
    assert_eq!(walls, expected.map(|name| json!(name)));
    for wall in data["walls"].as_array().expect("walls") {
        assert!(!wall["items"].as_array().expect("items").is_empty(), "{wall}");
    }
    let text = data.to_string();
    for secret in [&server.instance().state, &server.instance().run] {
        assert!(!text.contains(&*secret.to_string_lossy()), "a path of the host: {text}");
    }
}

#[test]
fn of_another_organisation_it_does_not_exist() {
    let server = Server::start();
    let other = tenant(&server, "other");
    let sandbox = server.create();
    let of_another = other.get(&sandbox.path("/isolation"));
    let of_nobody = other.get(&format!("/sandboxes/{UNKNOWN_ID}/isolation"));
    let _message = of_another.error(404);
    assert_eq!(of_another.text(), of_nobody.text());
    let _message = server.client().call("POST", &sandbox.path("/isolation"), Some("{}")).error(405);
    let _message = server.client().with_key("").get(&sandbox.path("/isolation")).error(401);
    sandbox.delete();
    let _message = server.client().get(&sandbox.path("/isolation")).error(404);
}

#[test]
fn of_a_dead_one_it_is_a_conflict() {
    let server = Server::start();
    let sandbox = server.create();
    host::kill9(sandbox.agent().pid);
    // From the first moment on: either half may learn of it first.
    eventually("it is known to be dead", || {
        let answer = server.client().get(&sandbox.path("/isolation"));
        if answer.status == 409 { Ok(()) } else { Err(answer.text()) }
    });
    let message = server.client().get(&sandbox.path("/isolation")).error(409);
    assert!(message.contains("killed"), "{message}");
    eventually("the gateway was told", || match &sandbox.object()["status"] {
        status if status == "killed" => Ok(()),
        status => Err(status.to_string()),
    });
}
