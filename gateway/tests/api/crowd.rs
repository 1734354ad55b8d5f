//! Many clients with one sandbox: every answer is one that some order of the calls allows, and in the end it stands
//! somewhere.

use crate::world::{World, eventually};
use bulkhead_protocol::runtime::Life;
use serde_json::json;

const CLIENTS: usize = 16;
const CALLS: usize = 40;

#[test]
fn whatever_sixteen_clients_do_at_once_ends_well() {
    let world = World::new();
    let id = world.sandbox("code");
    let steps = ["sleep", "wake", "freeze", "thaw", "start", "exec", "stop", "exec", "list", "resume"];
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (world, id) = (&world, &id);
            scope.spawn(move || {
                for call in 0..CALLS {
                    let step = steps[(client * 7 + call * 3 + call * client) % steps.len()];
                    one(world, id, step);
                }
            });
        }
    });
    let word = world.status(&id);
    let running = world.runtime.running().get(&id).copied();
    match word.as_str() {
        "running" => assert!(matches!(running, Some((_, Life::Running))), "{running:?}"),
        "snapshotted" => assert!(!matches!(running, Some((_, Life::Running))), "{running:?}"),
        other => panic!("{other}"),
    }
    assert_eq!(world.run(&id, "x").status, 200);
    let launches: Vec<u32> = world.runtime.created().iter().map(|spec| spec.launch).collect();
    let expected: Vec<u32> = (1..).take(launches.len()).collect();
    assert_eq!(launches, expected, "each number once");
    eventually("it can be deleted", || world.client().delete(&format!("/api/sandboxes/{id}")).status == 200);
    assert!(world.runtime.ids().is_empty());
}

fn one(world: &World, id: &str, step: &str) {
    let path = format!("/api/sandboxes/{id}");
    match step {
        "exec" => {
            let answer = world.exec(id, &json!({"command": "x"}));
            let kind = &answer.json["data"]["end"]["kind"];
            match answer.status {
                200 => assert!(kind == "exited" || kind == "sleep", "{answer:?}"),
                // Put to sleep meanwhile, or again and again.
                409 => assert!(answer.error().contains("to sleep"), "{answer:?}"),
                _ => panic!("{answer:?}"),
            }
        }
        "list" => assert_eq!(world.client().get(&path).status, 200),
        step => {
            let answer = world.client().post(&format!("{path}/{step}"), &json!({}));
            let asleep = matches!(step, "freeze" | "thaw") && answer.error().contains("asleep");
            assert!(answer.status == 200 || (answer.status == 409 && asleep), "{step}: {answer:?}");
        }
    }
}
