//! What time does to sandboxes: TTL and idleness, with and without restarts.

use crate::world::{World, eventually};
use bulkhead_protocol::runtime::Life;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

impl World {
    fn create(&self, more: &Value) -> Value {
        let mut body = json!({"name": "x"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = self.client().post("/api/sandboxes", &body);
        assert_eq!(made.status, 201, "{made:?}");
        made.json["data"].clone()
    }

    pub(crate) fn id(&self, more: &Value) -> String {
        self.create(more)["id"].as_str().unwrap().to_owned()
    }
}

#[test]
fn times_are_whole_seconds_within_bounds_or_absent() {
    let world = World::new();
    for field in ["ttlSeconds", "idleTimeoutSeconds"] {
        for value in
            ["-1", "0", "1e18", "1.5", "NaN", "\"60\"", "true", "99999999999999999999", "[]", "31536001"]
        {
            let body = format!(r#"{{"name":"x","{field}":{value}}}"#);
            let answer = world.client().send("POST", "/api/sandboxes", body.as_bytes());
            assert_eq!(answer.status, 400, "{body}: {answer:?}");
            assert!(value == "NaN" || answer.error().starts_with(field), "{answer:?}");
        }
    }
    let plain = world.create(&json!({"ttlSeconds": null, "idleTimeoutSeconds": null}));
    for field in ["ttlSeconds", "idleTimeoutSeconds", "expiresAt"] {
        assert!(plain.get(field).is_none(), "{plain}");
    }
    let made = world.create(&json!({"ttlSeconds": 3600, "idleTimeoutSeconds": 5}));
    assert_eq!((&made["ttlSeconds"], &made["idleTimeoutSeconds"]), (&json!(3600), &json!(5)));
    assert!(made["expiresAt"].as_str().unwrap() > made["createdAt"].as_str().unwrap());
    assert!(world.runtime.ids().len() == 2, "what was refused was not made");
}

#[test]
fn a_time_that_is_over_ends_a_sandbox_in_any_state() {
    let mut world = World::new();
    let start = Instant::now();
    let more = json!({"ttlSeconds": 3});
    let (runs, sleeps, freezes) = (world.id(&more), world.id(&more), world.id(&more));
    let stays = world.id(&json!({"ttlSeconds": 3600}));
    for (id, step) in [(&sleeps, "sleep"), (&freezes, "freeze")] {
        assert_eq!(world.client().post(&format!("/api/sandboxes/{id}/{step}"), &json!({})).status, 200);
    }
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(world.status(&runs), "running");
    std::thread::scope(|scope| {
        // A stream does not keep it.
        let exec = scope.spawn(|| world.run(&runs, "hang").json["data"]["end"]["kind"].clone());
        eventually("all three are gone", || world.runtime.ids() == [stays.clone()]);
        assert_eq!(exec.join().unwrap(), "gone");
    });
    let time = start.elapsed();
    assert!((Duration::from_secs(3)..Duration::from_secs(8)).contains(&time), "{time:?}");
    assert_eq!(world.client().get("/api/sandboxes").json["meta"]["total"], 1);
}

#[test]
fn who_is_idle_rests_and_who_is_used_does_not() {
    let world = World::new();
    let more = json!({"idleTimeoutSeconds": 5});
    let (idle, busy, holds, stays) =
        (world.id(&more), world.id(&more), world.id(&more), world.id(&json!({})));
    let held =
        world.client().post(&format!("/api/sandboxes/{holds}/commands/run"), &json!({"command": "hold"}));
    assert_eq!(held.status, 200);
    std::thread::scope(|scope| {
        let exec = scope.spawn(|| world.exec(&busy, &json!({"command": "hang", "timeout": 1})));
        let start = Instant::now();
        eventually("the idle one sleeps", || !world.runtime.running().contains_key(&idle));
        assert!(start.elapsed() > Duration::from_secs(4));
        eventually("with a command it stands still", || world.runtime.running()[&holds] == (1, Life::Frozen));
        assert_eq!(world.runtime.running()[&busy], (1, Life::Running), "somebody uses it");
        // The fake agent knows no timeout: the watchdog of the gateway ends it, 10 s later.
        assert_eq!(exec.join().unwrap().json["data"]["end"]["kind"], "timeout");
    });
    assert_eq!(world.runtime.running()[&stays], (1, Life::Running));
    assert_eq!((world.status(&idle).as_str(), world.status(&holds).as_str()), ("snapshotted", "snapshotted"));
    let list = world.client().get(&format!("/api/sandboxes/{holds}/commands/list"));
    assert_eq!(list.json["processes"].as_array().unwrap().len(), 1, "its command is still there");
    assert_eq!(world.run(&idle, "x").status, 200);
}
