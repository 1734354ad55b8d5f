//! What a sandbox uses: asked of the runtime, at a bounded rate, and nobody wakes for it.

use crate::keys::tenant;
use crate::world::World;
use serde_json::{Value, json};

fn asked(world: &World) -> usize {
    world.runtime.calls().iter().filter(|call| *call == "stats").count()
}

#[test]
fn what_a_sandbox_uses_is_read_now_and_then_and_wakes_nobody() {
    let world = World::new();
    let id = world.sandbox("code");
    let path = format!("/api/sandboxes/{id}/stats");
    let answer = world.client().get(&path);
    assert_eq!(answer.status, 200, "{answer:?}");
    let expected = json!({
        "memory": {"currentBytes": 1 << 20, "peakBytes": null, "limitBytes": 88 << 20},
        "cpu": {"usageUsec": null, "throttledPeriods": null, "throttledUsec": null},
        "pids": {"current": null, "limit": null},
        "disk": {"usedBytes": 4096, "limitBytes": 1 << 30},
        "oomKills": null,
        "executions": 1,
    });
    assert_eq!(answer.json["data"], expected);
    let before = std::time::Instant::now();
    let answers = 20;
    for _ in 0..answers {
        assert_eq!(world.client().get(&path).status, 200);
    }
    let most = 2 + usize::try_from(before.elapsed().as_millis() / 250).unwrap();
    assert!(asked(&world) <= most && most < answers, "{} of {most}", asked(&world));
    assert_eq!(world.client().post(&format!("/api/sandboxes/{id}/sleep"), &json!({})).status, 200);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let asleep = world.client().get(&path).json;
    assert_eq!(
        (&asleep["data"]["memory"]["currentBytes"], &asleep["data"]["executions"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(asleep["data"]["disk"]["usedBytes"], 4096);
    assert_eq!(world.status(&id), "snapshotted");
}

#[test]
fn what_is_anothers_does_not_exist_and_what_cannot_be_read_is_an_error() {
    let world = World::new();
    let id = world.sandbox("code");
    let path = format!("/api/sandboxes/{id}/stats");
    let other = tenant(&world, "other", &[]);
    let nobody = format!("/api/sandboxes/{}/stats", "a".repeat(30));
    let (theirs, none) = (other.get(&path), other.get(&nobody));
    assert_eq!((theirs.status, &theirs.json), (404, &none.json));
    assert_eq!(tenant(&world, "other", &["images:read"]).get(&path).status, 403);
    assert_eq!(world.client().post(&path, &json!({})).status, 405);
    world.runtime.refuse(Some("stats"));
    assert_eq!(world.client().get(&path).status, 500);
}
