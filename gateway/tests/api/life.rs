//! Create, list, show, exec, delete; and what a restart of either side leaves of it.

use crate::runtime::Away;
use crate::world::{World, eventually};
use bulkhead_gateway::admin::{KeyOrder, client as admin};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

#[test]
fn a_sandbox_lives_and_ends() {
    let world = World::new();
    let client = world.client();
    let body = json!({
        "name": "my.box", "cpu": 2, "mem": 2048, "orgId": "", "userId": "", "region": "eu",
        "envVars": {"A": "outer", "B": "outer"}, "labels": {"team": "x"}, "publishPorts": [8080],
        "limits": {"cpus": 0.5, "memoryMiB": 64}, "nodeId": null, "templateId": 7
    });
    let made = client.post("/api//sandboxes", &body);
    assert_eq!(made.status, 201, "{made:?}");
    let data = &made.json["data"];
    let id = data["id"].as_str().unwrap();
    assert_eq!((data["cpu"].clone(), data["mem"].clone()), (json!(1), json!(64)));
    assert_eq!(data["image"], "code:latest");
    assert_eq!(data["ports"], json!([{"protocol": "http", "port": 8080}]));
    let limits = json!({"cpus": 0.5, "memoryMiB": 64, "pids": 512, "openFiles": 4096, "diskMiB": 5120});
    assert_eq!(data["limits"], limits);
    assert!(data.get("envVars").is_none() && data.get("nodeId").is_none());
    let order = &world.runtime.created()[0];
    assert_eq!((order.hostname.as_str(), order.limits.cpu_millis), ("my.box", 500));

    let shown = client.get(&format!("/api/sandboxes/{id}"));
    assert_eq!((shown.status, &shown.json["data"]), (200, data));
    let list = client.get("/api/sandboxes?page=1&limit=50&labels=team%3Dx");
    assert_eq!(list.json["data"], json!([data]));
    assert_eq!(list.json["meta"], json!({"page": 1, "limit": 50, "total": 1, "totalPages": 1}));
    assert_eq!(client.get("/api/sandboxes?labels=team%3Dy").json["data"], json!([]));

    let ran = world.run(id, " something ");
    assert_eq!(ran.status, 200);
    assert!(ran.head.to_ascii_lowercase().contains("content-length:"));
    let expected = json!({
        "stdout": "out", "stderr": "err", "exitCode": 3, "end": {"kind": "exited", "code": 3},
        "usage": {"cpuMs": 2, "wallMs": 3, "peakMemoryBytes": null}, "truncated": {"stdout": 0, "stderr": 0}
    });
    assert_eq!(ran.json, json!({"status": "success", "message": "ok", "data": expected}));
    let body = json!({"command": "show", "env": {"B": "inner", "C": null}, "cwd": "/tmp", "timeout": 7});
    let seen: Value =
        serde_json::from_str(world.exec(id, &body).json["data"]["stdout"].as_str().unwrap()).unwrap();
    assert_eq!(seen["env"], json!([["A", "outer"], ["B", "inner"]]));
    assert_eq!((seen["cwd"].clone(), seen["timeout_ms"].clone()), (json!("/tmp"), json!(7000)));

    let gone = client.delete(&format!("/api/sandboxes/{id}"));
    assert_eq!((gone.status, gone.json), (200, json!({"status": "success", "message": "sandbox deleted"})));
    assert!(world.runtime.ids().is_empty());
    assert_eq!(client.delete(&format!("/api/sandboxes/{id}")).status, 404);
    assert_eq!(client.get(&format!("/api/sandboxes/{id}")).status, 404);
    assert_eq!(world.run(id, "x").status, 404);
}

#[test]
fn a_failed_create_leaves_nothing() {
    let world = World::new();
    let client = world.client();
    let make = |image: &str| client.post("/api/sandboxes", &json!({"name": "x", "image": image}));
    let cases =
        [("nothing", 404, "image: "), ("full", 503, "there is no room"), ("liar", 500, ""), ("old", 500, "")];
    for (image, status, text) in cases {
        let answer = make(image);
        assert_eq!(answer.status, status, "{image}: {answer:?}");
        assert!(answer.error().starts_with(text), "{answer:?}");
        assert!(!answer.error().contains("secret detail"));
    }
    let start = Instant::now();
    assert_eq!(make("mute").status, 504);
    assert!(start.elapsed() < Duration::from_secs(8));
    assert!(world.runtime.ids().is_empty());
    assert_eq!(client.get("/api/sandboxes").json["meta"]["total"], 0);
}

#[test]
fn a_create_without_waiting_is_finished_behind() {
    let world = World::new();
    let client = world.client();
    let made = client.post("/api/sandboxes", &json!({"name": "x", "sync": false}));
    assert_eq!((made.status, made.json["data"]["status"].clone()), (201, json!("running")));
    let id = made.json["data"]["id"].as_str().unwrap();
    assert_eq!(world.run(id, "x").status, 200);
    let made = client.post("/api/sandboxes", &json!({"name": "x", "sync": false, "image": "liar"}));
    let id = made.json["data"]["id"].as_str().unwrap();
    assert_eq!(world.run(id, "x").status, 409);
    assert_eq!(world.status(id), "error");
    assert_eq!(client.delete(&format!("/api/sandboxes/{id}")).status, 200);
}

#[test]
fn a_client_that_goes_away_does_not_stop_a_create() {
    use std::io::Write;
    let world = World::new();
    let client = world.client();
    let body = json!({"name": "x", "image": "mute"}).to_string();
    let mut stream = client.connect();
    stream.write_all(&client.text("POST", "/api/sandboxes", body.as_bytes())).unwrap();
    eventually("the create begins", || world.runtime.ids().len() == 1);
    drop(stream);
    eventually("the create is undone", || world.runtime.ids().is_empty());
    assert_eq!(client.get("/api/sandboxes").json["meta"]["total"], 0);
}

#[test]
fn a_death_and_a_delete_end_what_runs() {
    let world = World::new();
    let (dies, goes) = (world.sandbox("code"), world.sandbox("code"));
    std::thread::scope(|scope| {
        let killed = scope.spawn(|| world.run(&dies, "hang"));
        let deleted = scope.spawn(|| world.run(&goes, "hang"));
        std::thread::sleep(Duration::from_millis(300));
        world.runtime.kill(&dies);
        assert_eq!(world.client().delete(&format!("/api/sandboxes/{goes}")).status, 200);
        for answer in [killed.join().unwrap(), deleted.join().unwrap()] {
            assert_eq!(answer.status, 200, "{answer:?}");
            let data = &answer.json["data"];
            assert_eq!((data["exitCode"].clone(), data["end"]["kind"].clone()), (json!(137), json!("gone")));
            assert_eq!(data["stdout"], "so far");
        }
    });
    assert_eq!(world.status(&dies), "killed");
    let refused = world.run(&dies, "x");
    assert_eq!((refused.status, refused.error().contains("killed")), (409, true));
    assert_eq!(world.client().get("/api/sandboxes").json["meta"]["total"], 0);
    assert_eq!(world.client().delete(&format!("/api/sandboxes/{dies}")).status, 200);
}

#[test]
fn a_restart_keeps_what_runs_and_sorts_out_the_rest() {
    let mut world = World::new();
    let (stays, vanishes) = (world.sandbox("code"), world.sandbox("code"));
    let key = world.key.clone();
    assert_eq!(world.stop(Signal::SIGTERM), Some(0));
    world.runtime.forget(&vanishes);
    let stranger = "z".repeat(30);
    world.runtime.plant(&stranger);
    world.start();
    assert_eq!(std::fs::read_to_string(world.state_dir().join("api-key")).unwrap(), format!("{key}\n"));
    assert_eq!((world.status(&stays), world.status(&vanishes)), ("running".to_owned(), "killed".to_owned()));
    assert_eq!(world.run(&stays, "x").status, 200);
    assert_eq!(world.run(&vanishes, "x").status, 409);
    assert!(world.runtime.ids().contains(&stranger), "a leak is reported, not removed");
    assert!(world.log().contains("LEAK"));
    world.stop(Signal::SIGKILL);
    world.start();
    assert_eq!(world.run(&stays, "x").status, 200);
    assert!(!world.log().contains(&key), "the key is in the log");
}

#[test]
fn a_create_that_a_kill_cuts_is_removed_by_the_next_start() {
    let mut world = World::new();
    let client = world.client();
    std::thread::spawn(move || client.try_get("/api/version"));
    let (client, body) = (world.client(), json!({"name": "x", "image": "mute"}).to_string());
    let text = client.text("POST", "/api/sandboxes", body.as_bytes());
    let mut stream = client.connect();
    std::io::Write::write_all(&mut stream, &text).unwrap();
    eventually("the create begins", || world.runtime.ids().len() == 1);
    world.stop(Signal::SIGKILL);
    world.start();
    eventually("the rest is removed", || world.runtime.ids().is_empty());
    assert_eq!(world.client().get("/api/sandboxes").json["meta"]["total"], 0);
}

#[test]
fn a_runtime_that_goes_away_is_waited_for() {
    let world = World::new();
    let id = world.sandbox("code");
    world.runtime.cut(Away::Yes);
    eventually("health notices", || world.stranger().get("/healthz").status == 503);
    assert_eq!(world.run(&id, "x").status, 200, "exec does not need the runtime");
    let start = Instant::now();
    assert_eq!(world.client().post("/api/sandboxes", &json!({"name": "x"})).status, 503);
    assert!(start.elapsed() > Duration::from_secs(4));
    let refused = world.client().delete(&format!("/api/sandboxes/{id}"));
    assert_eq!(refused.status, 503);
    world.runtime.cut(Away::No);
    eventually("health notices", || world.stranger().get("/healthz").status == 200);
    eventually("the delete is finished", || world.runtime.ids().is_empty());
}

#[test]
fn an_administrator_makes_and_ends_keys() {
    let world = World::new();
    let run_dir = world.run_dir();
    assert!(nix::unistd::geteuid().is_root(), "the admin socket answers root only: run this as root");
    let order = |org: &str| KeyOrder { org: org.to_owned(), name: "ci".to_owned(), ..KeyOrder::default() };
    let org = admin::create_org(&run_dir, "acme").unwrap();
    assert!(admin::create_org(&run_dir, "acme").is_err() && admin::create_org(&run_dir, "a\nb").is_err());
    let key = admin::create_key(&run_dir, &order("acme")).unwrap();
    assert!(!format!("{key:?}").contains(&key.key));
    assert!(admin::create_key(&run_dir, &order("nobody")).is_err());
    let other = world.stranger().with("X-API-Key", &key.key);
    let mine = world.sandbox("code");
    for (method, path) in [("GET", ""), ("DELETE", ""), ("POST", "/exec")] {
        let path = format!("/api/sandboxes/{mine}{path}");
        let answer = other.send(method, &path, br#"{"command":"x"}"#);
        let unknown = other.send(method, &path.replace(&mine, &"a".repeat(30)), br#"{"command":"x"}"#);
        assert_eq!((answer.status, &answer.json), (404, &unknown.json), "{method}");
    }
    assert_eq!(other.get("/api/sandboxes").json["data"], json!([]));
    let foreign = other.post("/api/sandboxes", &json!({"name": "x", "orgId": "org_other"}));
    assert_eq!(foreign.status, 403);
    let own = other.post("/api/sandboxes", &json!({"name": "x", "orgId": org.id}));
    assert_eq!(own.status, 201);
    let listed = admin::list_keys(&run_dir).unwrap();
    assert!(listed.len() == 2 && listed.iter().any(|row| row.id == key.id && row.revoked_at.is_none()));
    admin::revoke_key(&run_dir, &key.id).unwrap();
    assert_eq!(other.get("/api/sandboxes").status, 401);
    assert!(admin::revoke_key(&run_dir, "../orgs").is_err());
    for file in std::fs::read_dir(world.state_dir().join("gateway")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(key.key.len()).any(|window| window == key.key.as_bytes()));
    }
    assert!(!world.log().contains(&key.key));
}

#[test]
fn a_closing_gateway_takes_nobody_new_and_does_not_wait_for_ever() {
    let mut world = World::new();
    let id = world.sandbox("code");
    let client = world.client();
    let path = format!("/api/sandboxes/{id}/exec");
    let mut long = client.connect();
    std::io::Write::write_all(&mut long, &client.text("POST", &path, br#"{"command":"hang","timeout":300}"#))
        .unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let start = Instant::now();
    assert_eq!(world.stop(Signal::SIGTERM), Some(0));
    let time = start.elapsed();
    assert!((Duration::from_secs(9)..Duration::from_secs(14)).contains(&time), "{time:?}");
    world.start();
    assert_eq!(world.run(&id, "x").status, 200);
}

#[test]
fn a_sleep_that_never_finishes_does_not_hold_up_a_delete() {
    let world = World::new();
    let id = world.sandbox("code");
    let path = format!("/api/sandboxes/{id}");
    world.runtime.refuse(Some("stop"));
    assert_eq!(world.client().post(&format!("{path}/stop"), &json!({})).status, 500);
    assert_eq!(world.client().delete(&path).status, 200);
    assert!(world.runtime.ids().is_empty());
}
