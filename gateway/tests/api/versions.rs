//! Agents of other releases, which outlive the gateway that started them; and what a later one may say.

use crate::world::World;
use nix::sys::signal::Signal;
use serde_json::json;

#[test]
fn an_agent_of_the_release_before_goes_on_working_with_a_new_gateway() {
    let mut world = World::new();
    let id = world.sandbox("previous");
    world.stop(Signal::SIGTERM);
    world.start();
    let client = world.client();
    assert_eq!(world.run(&id, "bytes").status, 200);
    let events = client.post(&format!("/api/sandboxes/{id}/exec-stream"), &json!({"command": "lines"}));
    assert!(events.status == 200 && events.text.contains("event:stdout\ndata:one\n"), "{events:?}");
    let file = client.get(&format!("/api/sandboxes/{id}/files/download?path=/root/plain"));
    assert_eq!((file.status, &*file.text), (200, "0123456789"));
    let commands = client.get(&format!("/api/sandboxes/{id}/commands/list"));
    assert_eq!(commands.status, 200, "{commands:?}");
    let made = client.post(&format!("/api/sandboxes/{id}/commands/run"), &json!({"command": "hello"}));
    assert_eq!(made.status, 200, "{made:?}");
}

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
fn what_a_later_agent_may_say_is_skipped() {
    let world = World::new();
    let id = world.sandbox("code");
    let answer = world.run(&id, "optional frame");
    assert_eq!((answer.status, &answer.json["data"]["stdout"]), (200, &json!("and more")));
}
