//! Agents and runtimes of other releases; and what a later agent may say. One of the release before is in `older.rs`.

use crate::runtime::Speaks;
use crate::world::{World, eventually};
use bulkhead_protocol::runtime::RUNTIME_PROTOCOL;
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn an_agent_that_is_too_old_is_said_to_be_and_a_wake_brings_a_new_one() {
    let mut world = World::new();
    let id = world.sandbox("aged");
    assert_eq!(world.run(&id, "bytes").status, 200);
    world.stop(Signal::SIGTERM);
    world.start();
    let refused = world.run(&id, "bytes");
    let expected =
        "the sandbox runs since a release that this server no longer speaks with: let it sleep and wake";
    assert_eq!((refused.status, refused.error()), (409, expected));
    assert_eq!(world.status(&id), "running");
    let step = |name: &str| world.client().post(&format!("/api/sandboxes/{id}/{name}"), &json!({})).status;
    assert_eq!((step("sleep"), step("wake")), (200, 200));
    assert_eq!(world.run(&id, "bytes").status, 200);
}

#[test]
fn a_runtime_of_another_release_is_told_so_and_nothing_else_until_ours_is_back() {
    let world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let create = || client.post("/api/sandboxes", &json!({"name": "x", "image": "code"}));
    let other = RUNTIME_PROTOCOL + 1;
    let said = format!("the runtime speaks protocol {other}, this gateway {RUNTIME_PROTOCOL}");
    let refused = format!("the runtime speaks {other}, the gateway {RUNTIME_PROTOCOL}");
    for (speaks, says) in [(Speaks::Another(other), &said), (Speaks::Refuses(other), &refused)] {
        let made = world.runtime.created().len();
        world.runtime.replace(speaks);
        eventually("the log tells", || world.log().contains(says.as_str()));
        let answer = create();
        assert_eq!((answer.status, answer.error()), (503, "the runtime is not available"), "{speaks:?}");
        assert_eq!(client.get("/healthz").status, 503);
        assert_eq!(world.runtime.created().len(), made, "it was asked for nothing");
        // What runs needs no runtime.
        assert_eq!(world.run(&id, "bytes").status, 200);
        world.runtime.replace(Speaks::Ours);
        eventually("ours is back", || client.get("/healthz").status == 200);
        assert_eq!(create().status, 201);
    }
}

#[test]
fn what_a_later_agent_may_say_is_skipped() {
    let world = World::new();
    let id = world.sandbox("code");
    let answer = world.run(&id, "optional frame");
    assert_eq!((answer.status, &answer.json["data"]["stdout"]), (200, &json!("and more")));
}
