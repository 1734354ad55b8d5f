//! Many clients with one sandbox: every answer is one that some order of the calls allows, and in the end it stands
//! somewhere.

use crate::world::{World, eventually};
use bulkhead_protocol::runtime::Life;
use nix::sys::signal::Signal;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

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

/// Clients that do not care for answers, and a gateway that dies again and again between any two steps: afterwards each
/// sandbox stands somewhere, can be used and can be deleted. The runtime of the tests takes no number of a launch twice
/// and no disk that is not there.
#[test]
fn kills_between_any_two_steps_leave_no_half_state() {
    let mut world = World::with_pool(2);
    let ids: Vec<String> = (0..4).map(|_| world.sandbox("code")).collect();
    let steps = ["sleep", "wake", "freeze", "thaw", "start"];
    for round in 0..12_u64 {
        let stop = AtomicBool::new(false);
        let client = world.client();
        std::thread::scope(|scope| {
            for (n, id) in ids.iter().enumerate() {
                let (client, stop) = (&client, &stop);
                scope.spawn(move || {
                    for call in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let path = format!("/api/sandboxes/{id}/{}", steps[(n + call) % steps.len()]);
                        // Whatever it says: it may be killed at this moment.
                        client.try_send("POST", &path).unwrap_or_default();
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(13 + 17 * (round % 5)));
            world.stop(Signal::SIGKILL);
            stop.store(true, Ordering::Relaxed);
        });
        world.start();
    }
    for id in &ids {
        eventually("it can be used", || world.run(id, "x").status == 200);
        assert_eq!(world.runtime.running()[id].1, Life::Running);
    }
    assert!(!world.log().contains("LEAK"));
    assert_eq!(world.client().get("/api/sandboxes").json["meta"]["total"], ids.len());
    for id in &ids {
        assert_eq!(world.client().delete(&format!("/api/sandboxes/{id}")).status, 200);
    }
    eventually("only the pool is left", || world.runtime.ids().len() == 2);
}
