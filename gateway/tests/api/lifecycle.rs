//! Every step of the lifecycle from every state, what the runtime is asked for, and what a failure leaves.

use crate::world::{World, eventually};
use bulkhead_protocol::runtime::Life;
use nix::sys::signal::Signal;
use serde_json::json;

const STEPS: [&str; 8] = ["start", "wake", "resume", "sleep", "stop", "pause", "freeze", "thaw"];

impl World {
    /// `POST …/{step}`; gives the status of the answer.
    fn step(&self, id: &str, step: &str) -> u16 {
        let answer = self.client().send("POST", &format!("/api/sandboxes/{id}/{step}"), b"");
        match answer.status {
            200 => assert_eq!(answer.json["status"], "success", "{answer:?}"),
            _ => assert!(!answer.error().is_empty() && !answer.error().contains("secret"), "{answer:?}"),
        }
        answer.status
    }

    /// A sandbox in the state of this name.
    fn sandbox_that_is(&self, state: &str) -> String {
        let id = if state == "failed" {
            let body = json!({"name": "x", "image": "liar", "sync": false});
            let made = self.client().post("/api/sandboxes", &body);
            made.json["data"]["id"].as_str().unwrap().to_owned()
        } else {
            self.sandbox("code")
        };
        let word = match state {
            "asleep" => {
                assert_eq!(self.step(&id, "sleep"), 200);
                "snapshotted"
            }
            "frozen" => {
                assert_eq!(self.step(&id, "freeze"), 200);
                "snapshotted"
            }
            "killed" => {
                self.runtime.kill(&id);
                "killed"
            }
            "failed" => "error",
            _ => "running",
        };
        eventually(state, || self.status(&id) == word);
        id
    }
}

#[test]
fn every_step_from_every_state() {
    let world = World::new();
    // In the order of STEPS: the status of the answer, and what the sandbox is then.
    let (runs, rests, dead, failed) =
        ((200, "running"), (200, "snapshotted"), (409, "killed"), (409, "error"));
    let no = (409, "snapshotted");
    let table = [
        ("running", [runs, runs, runs, rests, rests, rests, rests, runs]),
        ("asleep", [runs, runs, runs, rests, rests, rests, no, no]),
        ("frozen", [runs, runs, runs, rests, rests, rests, rests, runs]),
        ("killed", [runs, dead, dead, dead, dead, dead, dead, dead]),
        // It fails again, since its agent lies again.
        ("failed", [(500, "error"), failed, failed, failed, failed, failed, failed, failed]),
    ];
    for (state, row) in table {
        for (step, expected) in STEPS.iter().zip(row) {
            let id = world.sandbox_that_is(state);
            let status = world.step(&id, step);
            assert_eq!((status, world.status(&id).as_str()), expected, "{step} of {state}");
            assert_eq!(world.step(&id, step), expected.0, "{step} of {state}, again");
            assert_eq!(world.client().delete(&format!("/api/sandboxes/{id}")).status, 200);
        }
    }
    assert!(world.runtime.ids().is_empty());
}

#[test]
fn what_is_there_already_is_not_done_again() {
    let world = World::new();
    let id = world.sandbox("code");
    for step in
        ["thaw", "wake", "sleep", "sleep", "pause", "wake", "resume", "start", "freeze", "freeze", "thaw"]
    {
        assert_eq!(world.step(&id, step), 200, "{step}");
    }
    assert_eq!(world.runtime.calls(), ["stop", "freeze", "thaw"]);
    let launches: Vec<u32> = world.runtime.created().iter().map(|spec| spec.launch).collect();
    assert_eq!(launches, [1, 2]);
    assert_eq!(world.runtime.created()[0].limits, world.runtime.created()[1].limits);
}

#[test]
fn steps_are_checked_like_every_request() {
    let world = World::new();
    let id = world.sandbox("code");
    for step in STEPS {
        let path = format!("/api/sandboxes/{id}/{step}");
        assert_eq!(world.client().get(&path).status, 405, "{step}");
        assert_eq!(world.stranger().send("POST", &path, b"").status, 401, "{step}");
        assert_eq!(world.client().send("POST", &path, b"[]").status, 400, "{step}");
        assert_eq!(world.step(&"a".repeat(30), step), 404, "{step}");
    }
    assert_eq!(world.client().post(&format!("/api/sandboxes/{id}/sleep"), &json!({})).status, 200);
}

#[test]
fn a_call_wakes_once_and_runs_once() {
    let world = World::new();
    for state in ["asleep", "frozen"] {
        let id = world.sandbox_that_is(state);
        let before = world.runtime.created().len();
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| world.run(&id, "x").status)).collect();
            assert!(calls.into_iter().all(|call| call.join().unwrap() == 200));
        });
        let launches = world.runtime.created().len() - before;
        assert_eq!(launches, usize::from(state == "asleep"), "{state}");
        assert_eq!(world.status(&id), "running");
    }
}

#[test]
fn every_call_to_the_agent_wakes_and_no_other() {
    let world = World::new();
    let id = world.sandbox_that_is("asleep");
    let path = format!("/api/sandboxes/{id}");
    let client = world.client();
    assert_eq!(client.send("PATCH", &path, br#"{"autoSleep":true}"#).status, 200);
    assert_eq!(client.get("/api/sandboxes").json["data"][0]["status"], "snapshotted");
    assert_eq!(client.get(&format!("{path}/isolation")).status, 409);
    for (rest, body) in
        [("/exec", json!({})), ("/commands/kill", json!({"pid": "x"})), ("/pty/sessions", json!([]))]
    {
        assert_eq!(client.post(&format!("{path}{rest}"), &body).status, 400, "what is wrong wakes nobody");
    }
    assert_eq!(world.status(&id), "snapshotted");
    for (method, rest, body) in [
        ("POST", "/exec", r#"{"command":"x"}"#),
        ("POST", "/exec-stream", r#"{"command":"x"}"#),
        ("POST", "/commands/run", r#"{"command":"x"}"#),
        ("GET", "/commands/list", ""),
        ("POST", "/commands/kill", r#"{"pid":1049576}"#),
        ("POST", "/commands/wait", r#"{"pid":1049576}"#),
        ("POST", "/commands/attach", r#"{"pid":1049576}"#),
        ("POST", "/commands/1049576/signal", r#"{"signal":"TERM"}"#),
        ("GET", "/pty/sessions", ""),
        ("DELETE", "/pty/sessions/sess-0000000000100001", ""),
        ("POST", "/session-exec", r#"{"action":"close","sessionId":"x"}"#),
    ] {
        assert_eq!(world.step(&id, "sleep"), 200);
        let answer = client.send(method, &format!("{path}{rest}"), body.as_bytes());
        assert!(matches!(answer.status, 200 | 404), "{rest}: {answer:?}");
        assert_eq!(world.status(&id), "running", "{rest}");
    }
}

#[test]
fn sleep_ends_what_runs_and_says_so() {
    let world = World::new();
    let id = world.sandbox("code");
    let path = format!("/api/sandboxes/{id}");
    let client = world.client();
    let held = client.post(&format!("{path}/commands/run"), &json!({"command": "hold"}));
    let pid = held.json["pid"].clone();
    std::thread::scope(|scope| {
        let exec = scope.spawn(|| world.run(&id, "hang"));
        let wait = scope.spawn(|| client.post(&format!("{path}/commands/wait"), &json!({"pid": pid})));
        let attach = scope.spawn(|| client.post(&format!("{path}/commands/attach"), &json!({"pid": pid})));
        let stream = scope.spawn(|| client.post(&format!("{path}/exec-stream"), &json!({"command": "hang"})));
        std::thread::sleep(std::time::Duration::from_millis(400));
        // The next launch runs before most of them have looked.
        assert_eq!((world.step(&id, "sleep"), world.step(&id, "wake")), (200, 200));
        let data = exec.join().unwrap().json["data"].clone();
        assert_eq!((&data["stdout"], &data["exitCode"]), (&json!("so far"), &json!(137)));
        assert_eq!(data["end"], json!({"kind": "sleep"}));
        let waited = wait.join().unwrap();
        assert_eq!((waited.status, &waited.json["end"]["kind"]), (200, &json!("sleep")));
        for events in [attach.join().unwrap(), stream.join().unwrap()] {
            assert!(
                events.text.contains("so far") && events.text.contains(r#""kind":"sleep""#),
                "{events:?}"
            );
        }
    });
    assert_eq!(client.post(&format!("{path}/commands/wait"), &json!({"pid": pid})).status, 404);
}

#[test]
fn a_step_that_fails_leaves_no_half_state() {
    let world = World::new();
    let id = world.sandbox("code");
    world.runtime.refuse(Some("freeze"));
    assert_eq!(world.step(&id, "freeze"), 500);
    world.runtime.refuse(None);
    eventually("it runs again", || world.status(&id) == "running");
    assert_eq!(world.run(&id, "x").status, 200);
    world.runtime.refuse(Some("stop"));
    assert_eq!(world.step(&id, "sleep"), 500);
    world.runtime.refuse(None);
    eventually("it sleeps after all", || world.status(&id) == "snapshotted");
    world.runtime.refuse(Some("create"));
    assert_eq!(world.run(&id, "x").status, 500);
    assert_eq!(world.status(&id), "snapshotted");
    world.runtime.refuse(None);
    assert_eq!(world.run(&id, "x").status, 200);
}

#[test]
fn a_restart_finds_everything_where_it_was() {
    let mut world = World::new();
    let states = ["running", "asleep", "frozen", "killed", "failed"];
    let ids = states.map(|state| world.sandbox_that_is(state));
    let words = ids.each_ref().map(|id| world.status(id));
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(ids.each_ref().map(|id| world.status(id)), words);
    let running = world.runtime.running();
    assert_eq!(running.get(&ids[2]), Some(&(1, Life::Frozen)));
    for (id, status) in ids.iter().zip([200, 200, 200, 409, 409]) {
        assert_eq!(world.run(id, "x").status, status);
    }
}

#[test]
fn what_a_kill_cuts_in_half_is_finished_by_the_next_start() {
    let mut world = World::new();
    let [sleeps, wakes, vanishes] = [(); 3].map(|()| world.sandbox("code"));
    world.runtime.refuse(Some("stop"));
    assert_eq!(world.step(&sleeps, "sleep"), 500);
    world.stop(Signal::SIGKILL);
    world.runtime.refuse(None);
    world.runtime.forget(&vanishes);
    world.start();
    eventually("the sleep is finished", || world.status(&sleeps) == "snapshotted");
    assert!(!world.runtime.running().contains_key(&sleeps));
    assert_eq!(world.status(&vanishes), "killed");
    assert_eq!((world.step(&vanishes, "start"), world.run(&vanishes, "x").status), (200, 200));
    // A wake whose gateway died before the row said so.
    assert_eq!(world.step(&wakes, "sleep"), 200);
    world.stop(Signal::SIGKILL);
    world.runtime.launch_again(&wakes, 2);
    world.start();
    assert_eq!(world.status(&wakes), "running", "what the runtime lists runs");
    assert_eq!((world.step(&wakes, "sleep"), world.run(&wakes, "x").status), (200, 200));
    assert_eq!(world.runtime.running()[&wakes].0, 3);
}

#[test]
fn a_patch_changes_one_thing() {
    let mut world = World::new();
    let id = world.sandbox("code");
    let path = format!("/api/sandboxes/{id}");
    let patch = |world: &World, body: &str| world.client().send("PATCH", &path, body.as_bytes());
    for (body, error) in [
        ("{}", "autoSleep: "),
        ("", "autoSleep: "),
        (r#"{"autoSleep":null}"#, "autoSleep: "),
        (r#"{"autoSleep":"true"}"#, "autoSleep: "),
        (r#"{"autoSleep":true,"name":"y"}"#, "name: "),
        (r#"{"ttlSeconds":5}"#, "ttlSeconds: "),
        ("[]", "body: "),
    ] {
        let answer = patch(&world, body);
        assert_eq!(answer.status, 400, "{body}: {answer:?}");
        assert!(answer.error().starts_with(error), "{body}: {answer:?}");
    }
    let answer = patch(&world, r#"{"autoSleep":true}"#);
    assert_eq!((answer.status, &answer.json["data"]["autoSleep"]), (200, &json!(true)));
    assert_eq!(answer.json["data"]["id"], json!(id));
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(world.client().get(&path).json["data"]["autoSleep"], true);
    assert_eq!(world.client().send("PATCH", "/api/sandboxes/x", br#"{"autoSleep":true}"#).status, 404);
}
